"""The reviewer protocol: text in, verdicts out.

The signature carries no tensor and no policy, so a reviewer cannot read the policy's state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from apportion.trace import Problem, Review, Step


@runtime_checkable
class Reviewer(Protocol):
    """Judges the steps of one chain of thought.

    ``review`` never raises for a failing service or an unreadable text: it returns a Review whose
    ``error`` says what happened. ``steps`` is the proposed cut; a reviewer may return its own.
    ``outcome`` was frozen before the call. ``critiques`` (K) is how many independent critiques
    the reviewer gives when asked; deterministic reviewers give one. A reviewer may have a
    ``family`` (see ``of_family``).
    """

    name: str
    critiques: int

    async def review(
        self,
        problem: Problem,
        rollout_text: str,
        steps: Sequence[Step],
        outcome: float | None,
        *,
        rollout_id: str = "",
        critique: int = 0,
    ) -> Review: ...


def of_family(reviewer: Reviewer, family: str) -> Reviewer:
    """The same reviewer, whose reviews say that it is of this family (``Review.meta``)."""
    unchecked: Any = reviewer
    unchecked.family = family
    return reviewer
