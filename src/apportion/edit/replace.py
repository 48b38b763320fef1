"""Write what should have been thought in the place of a harmful step."""

from __future__ import annotations

from collections.abc import Sequence

from apportion.edit.correct import mend
from apportion.edit.draft import Draft, Piece


def replace_step(draft: Draft) -> Draft:
    """As ``correct``, but the harmful step and what follows from it go without a trace: the
    mistake is not shown to a policy that learns from the chain, and neither is how to mend it.
    Where nobody proposed anything, the policy goes on from the step before.
    """

    def put(wrong: Sequence[Piece], instead: str) -> list[Piece]:
        end = wrong[-1].text[len(wrong[-1].text.rstrip()) :] or draft.separator
        return [Piece(instead + end)] if instead else []

    return mend(draft, "replace", put, bare="left it out")
