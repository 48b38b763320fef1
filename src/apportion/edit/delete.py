"""Take the irrelevant steps out, and everything that only they fed."""

from __future__ import annotations

from apportion.edit.draft import Draft
from apportion.edit.graph import inputs_of, reachable


def delete(draft: Draft) -> Draft:
    """Deliberative Credit Assignment (Dietz 2025), approach 2: steps that the reviewers agree are
    irrelevant go, and so does any step all of whose inputs went.

    A step that an agreed useful step rests on stays, whatever its label: there labels and
    dependencies contradict each other, and to keep is what can be mended later.
    """
    inputs = inputs_of(draft)
    useful = [i for i in draft.left if draft.agreed(i, "useful")]
    needed = reachable(inputs, useful) | set(useful)
    gone = {i for i in draft.left if draft.agreed(i, "irrelevant") and i not in needed}
    named = len(gone)
    size = -1
    while size < len(gone):
        size = len(gone)
        gone |= {i for i in draft.left if i not in needed and _only_fed_by(inputs[i], gone)}
    if not gone:
        return draft
    steps = f"{named} step{'' if named == 1 else 's'}"
    also = f", and {size - named} that only they fed" if size > named else ""
    return draft.without("delete", gone, f"deleted {steps} called irrelevant{also}")


def _only_fed_by(sources: tuple[int, ...], gone: set[int]) -> bool:
    return bool(sources) and gone.issuperset(sources)
