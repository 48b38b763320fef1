"""A rollout and what was agreed about it to an edited chain."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from apportion.edit.correct import COMMENT, correct
from apportion.edit.cut import cut
from apportion.edit.delete import delete
from apportion.edit.draft import Draft, begin
from apportion.edit.join import finish
from apportion.edit.reorder import reorder
from apportion.edit.replace import replace_step
from apportion.errors import UserError, nearest
from apportion.trace import Consensus, Edit, Rollout

# In the order in which they are applied, whatever the order in which they are asked for.
OPERATIONS: dict[str, str] = {
    "cut": "end the reasoning where the answer is fixed",
    "delete": "take irrelevant steps out, and everything that only they fed",
    "reorder": "put each step right after what it uses",
    "replace": "write what should have been thought in the place of a harmful step",
    "correct": "say after a harmful step that it was wrong, and what should have been thought",
}


def edit_chain(
    rollout: Rollout,
    consensus: Consensus,
    operations: Sequence[str],
    *,
    comment: str = COMMENT,
    commitment: int | None = None,
) -> Edit:
    """Rewrite the reasoning of one rollout by what its reviewers agree on. Pure: same in, same out.

    The text from ``reasoning_end`` on is kept to the letter, except where ``replace`` or
    ``correct`` leave the edit open: it then ends where the policy has to go on
    (:func:`apportion.edit.verify_edits` lets it). What the edit does not change is kept literally,
    and the spans say what. ``comment`` is what ``correct`` says; ``commitment`` is where ``cut``
    cuts, if it was probed (:func:`apportion.edit.commitment_points`).

    An edit that leaves nothing of the reasoning, whose steps depend on each other in a circle, or
    that no valid review supports carries the reason in ``refused``.

    Raises UserError for an unknown operation, and for a consensus that is not of this rollout.
    """
    asked = check_operations(operations)
    draft = begin(rollout, consensus)
    if not consensus.valid_reviews:
        return finish(draft.refuse("no review that did not fail"), asked)
    steps: dict[str, Callable[[Draft], Draft]] = {
        "cut": lambda draft: cut(draft, commitment),
        "delete": delete,
        "reorder": reorder,
        "replace": replace_step,
        "correct": lambda draft: correct(draft, comment),
    }
    for operation in asked:
        if not draft.refused:
            draft = steps[operation](draft)
    return finish(draft, asked)


def check_operations(operations: Sequence[str]) -> tuple[str, ...]:
    """The operations in the order in which they are applied. Raises UserError for wrong ones."""
    for operation in operations:
        if operation not in OPERATIONS:
            raise UserError(
                f"unknown operation '{operation}'{nearest(operation, list(OPERATIONS))}; "
                f"there are {', '.join(OPERATIONS)}"
            )
    if not operations:
        raise UserError(f"no operation given: choose from {', '.join(OPERATIONS)}")
    if {"replace", "correct"} <= set(operations):
        raise UserError("replace and correct both mend the harmful step: choose one")
    return tuple(name for name in OPERATIONS if name in operations)
