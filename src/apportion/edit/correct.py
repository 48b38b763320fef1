"""Say after a harmful step that it was wrong, and what should have been thought."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from apportion.edit.draft import Draft, Piece
from apportion.edit.graph import inputs_of, reachable, users_of

COMMENT = "Wait, that is wrong."


def correct(draft: Draft, comment: str = COMMENT) -> Draft:
    """Deliberative Credit Assignment (Dietz 2025), approach 2: after the first step that the
    reviewers agree is harmful comes a comment, then what they proposed instead, if anything.

    What follows stays where nothing in it uses the harmful step, no further step is harmful, and
    the outcome is right: there the rest of the chain stands by itself. Otherwise the rest and the
    answer go, and the draft is open for the policy to write the corrected continuation.
    """

    def put(wrong: Sequence[Piece], instead: str) -> list[Piece]:
        end = _ending(draft, wrong[-1].text)
        new = [Piece(comment + end)] if comment else []
        return [*wrong, *new, *([Piece(instead + end)] if instead else [])]

    return mend(draft, "correct", put, bare="said so")


def mend(
    draft: Draft,
    operation: str,
    put: Callable[[Sequence[Piece], str], list[Piece]],
    *,
    bare: str,
) -> Draft:
    """Put something at the place of the first harmful step, and keep the rest where it stands by
    itself. ``put`` gets the pieces of that step and the proposal, "" where there is none; ``bare``
    says in words what it does without one."""
    first = next((n for n, p in enumerate(draft.pieces) if _harmful(draft, p)), None)
    if first is None:
        return draft
    last, instead = _extent(draft, first)
    wrong, rest = draft.pieces[first : last + 1], draft.pieces[last + 1 :]
    bad = [piece.step for piece in wrong if piece.step is not None]
    tainted = reachable(users_of(inputs_of(draft)), bad)
    right = (draft.rollout.outcome or 0.0) > 0.5
    stands = right and not any(p.step in tainted or _harmful(draft, p) for p in rest)
    pieces = [*draft.pieces[:first], *put(wrong, instead), *(rest if stands else ())]
    done = "put what the reviewers proposed" if instead else bare
    why = f"step {bad[0]} is harmful: {done}"
    if not stands:
        why += ", the policy goes on from there"
    return replace(draft.changed(operation, pieces, why), open=not stands)


def _harmful(draft: Draft, piece: Piece) -> bool:
    return piece.step is not None and draft.agreed(piece.step, "harmful")


def _extent(draft: Draft, first: int) -> tuple[int, str]:
    """Last piece of the harmful step, and the proposal for it: where reviewers cut differently,
    one step of the proposal's author is several pieces, all with the same proposal."""
    index = draft.pieces[first].step
    instead = draft.steps[index].instead if index is not None else ""
    last = first
    while instead and last + 1 < len(draft.pieces):
        following = draft.pieces[last + 1]
        same = following.step is not None and draft.steps[following.step].instead == instead
        if not (same and _harmful(draft, following)):
            break
        last += 1
    return last, instead.strip()


def _ending(draft: Draft, text: str) -> str:
    """White space to end a new piece with: what the step before it ends with."""
    return text[len(text.rstrip()) :] or draft.separator
