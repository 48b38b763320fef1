"""End the reasoning where the answer is fixed."""

from __future__ import annotations

from apportion.edit.answer import stated, states
from apportion.edit.draft import Draft
from apportion.edit.graph import inputs_of


def cut(draft: Draft, commitment: int | None = None) -> Draft:
    """What follows the commitment point goes: the first step after which the answer is fixed.

    ``commitment`` is an offset in the original text at which a probe found the answer fixed.
    Without one it is read off the dependencies: from the last step that states the answer back to
    a step that it uses and that states the answer too, as often as there is one. An agreed useful
    step is not passed and not cut: its number may equal the answer by chance. A chain in which no
    step states the answer is left alone.
    """
    if commitment is not None:
        gone = {
            p.step
            for p in draft.pieces
            if p.step is not None and p.source is not None and p.source[0] >= commitment
        }
        how = "the answer no longer changed when it was asked for"
    else:
        last = _committed(draft)
        gone = set(draft.left[last + 1 :])
        how = f"step {draft.left[last]} already has the answer" if gone else ""
    if not gone:
        return draft
    return draft.without(
        "cut", gone, f"cut the last {len(gone)} step{'' if len(gone) == 1 else 's'}: {how}"
    )


def _committed(draft: Draft) -> int:
    """Position of the committing step among those that are left; of the last one if none does."""
    end = len(draft.left) - 1
    answer = stated(draft.rollout)
    stating = [p.step is not None and states(p.text, answer or "") for p in draft.pieces]
    if answer is None or not any(stating):
        return end
    place = {step: position for position, step in enumerate(draft.left)}
    inputs = inputs_of(draft)
    useful = [position for step, position in place.items() if draft.agreed(step, "useful")]
    found = max(position for position, states_it in enumerate(stating) if states_it)
    while found not in useful:
        earlier = [place[d] for d in inputs[draft.left[found]] if place[d] < found]
        earlier = [position for position in earlier if stating[position]]
        if not earlier:
            break
        found = max(earlier)
    return max([found, *useful])
