"""A review in one cut of the text, seen in another."""

from __future__ import annotations

from collections.abc import Sequence

from apportion.trace import Review, Step, StepVerdict


def places(steps: Sequence[Step], review: Review) -> list[int | None]:
    """For each step of the review the one of ``steps`` that it overlaps most, the first of equals;
    None where it overlaps none."""
    if tuple(steps) == review.steps:
        return list(range(len(steps)))
    found: list[int | None] = []
    for span in review.steps:
        overlaps = [min(step.end, span.end) - max(step.start, span.start) for step in steps]
        most = max(overlaps, default=0)
        found.append(overlaps.index(most) if most > 0 else None)
    return found


def aligned_verdicts(steps: Sequence[Step], review: Review) -> list[list[StepVerdict]]:
    """The verdicts on each of ``steps``; each verdict goes to one of them."""
    found: list[list[StepVerdict]] = [[] for _ in steps]
    for place, verdict in zip(places(steps, review), review.verdicts, strict=True):
        if place is not None:
            found[place].append(verdict)
    return found


def aligned_edges(steps: Sequence[Step], review: Review) -> set[tuple[int, int]]:
    """The review's dependencies as (earlier, later) pairs of ``steps``.

    What joins two parts of one step says nothing about the steps and is left out; so a coarser
    cut loses the dependencies inside its own steps.
    """
    place = places(steps, review)
    return {
        (a, b)
        for later, verdict in zip(place, review.verdicts, strict=True)
        for source in verdict.depends_on
        if (a := place[source]) is not None and (b := later) is not None and a < b
    }
