"""The dependency graph of the steps that are left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from apportion.edit.draft import Draft

Edges = Mapping[int, Sequence[int]]  # step to the steps at the other ends of its edges


def inputs_of(draft: Draft) -> dict[int, tuple[int, ...]]:
    """For each step that is left the steps that it uses, of those that are left."""
    left = set(draft.left)
    return {i: tuple(d for d in draft.steps[i].depends_on if d in left) for i in draft.left}


def users_of(inputs: Edges) -> dict[int, list[int]]:
    """The same edges from the other end: for each step the steps that use it."""
    users: dict[int, list[int]] = {step: [] for step in inputs}
    for step, sources in inputs.items():
        for source in sources:
            users[source].append(step)
    return users


def reachable(edges: Edges, start: Iterable[int]) -> set[int]:
    """Everything that the edges lead to from these steps; the steps themselves only through a
    circle."""
    found: set[int] = set()
    ahead = list(start)
    while ahead:
        for step in edges[ahead.pop()]:
            if step not in found:
                found.add(step)
                ahead.append(step)
    return found
