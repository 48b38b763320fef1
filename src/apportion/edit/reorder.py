"""Put each step right after what it uses."""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import groupby

from apportion.edit.draft import Draft
from apportion.edit.graph import inputs_of


def reorder(draft: Draft) -> Draft:
    """Deliberative Credit Assignment (Dietz 2025), approach 2: topological order of the agreed
    dependencies. Of the many such orders it takes the depth-first one: a step comes right after
    the steps that it uses, and what is otherwise free keeps its order, so that a chain without
    detours does not change.

    A step that nobody reviewed stays where it is and nothing passes it. Steps that depend on each
    other in a circle are refused, and named.
    """
    edges = inputs_of(draft)
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        circle = " -> ".join(str(step) for step in reversed(error.args[1]))
        return draft.refuse(f"steps depend on each other in a circle: {circle}")
    order: list[int] = []
    for reviewed, run in groupby(draft.left, lambda i: draft.steps[i].status != "unreviewed"):
        steps = list(run)
        order += _depth_first(steps, edges) if reviewed else steps
    if order == list(draft.left):
        return draft
    of_step = {piece.step: piece for piece in draft.pieces}
    moved = sum(a != b for a, b in zip(order, draft.left, strict=True))
    return draft.changed("reorder", (of_step[i] for i in order), f"reordered {moved} steps")


def _depth_first(steps: Sequence[int], edges: dict[int, tuple[int, ...]]) -> list[int]:
    """Post-order from the steps that no other uses, each group of inputs in present order."""
    place = {step: position for position, step in enumerate(steps)}
    inputs = {s: sorted((d for d in edges[s] if d in place), key=place.__getitem__) for s in steps}
    used = {source for of_one in inputs.values() for source in of_one}
    order: list[int] = []
    done: set[int] = set()
    stack = [(s, False) for s in reversed(steps) if s not in used]
    while stack:
        step, inputs_done = stack.pop()
        if step in done:
            continue
        if inputs_done:
            done.add(step)
            order.append(step)
        else:
            stack.append((step, True))
            stack.extend((source, False) for source in reversed(inputs[step]))
    return order
