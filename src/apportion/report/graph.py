"""The dependencies that a problem knows of, among the steps that a page shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from apportion.review.gold import gold_places, gold_steps
from apportion.segment import segment
from apportion.trace import Rollout, Step

# Reading the equations of a text takes time; chains of tasks that know their steps are short.
LONGEST_READ = 8_000


class KnownGraph(NamedTuple):
    """``uses[s]`` are the earlier shown steps that step s rests on in the known solution, of whose
    ``known`` dependencies ``drawn`` join two steps that are written here."""

    uses: list[list[int]]
    drawn: int
    known: int


def known_graph(rollout: Rollout, shown: Sequence[Step]) -> KnownGraph | None:
    """The known solution's dependencies, carried over to the shown steps; None where the problem
    knows none.

    A known step has its place where an equation of the text computes it. A dependency is carried
    over where both of its ends have a place, each wholly inside one shown step, and the one that
    uses comes after; what is left out is not guessed.
    """
    if len(rollout.text) > LONGEST_READ:
        return None
    try:
        graph = gold_steps(rollout.problem)
    except (ValueError, TypeError):
        return None
    known = [(use, step) for step, gold in enumerate(graph) for use in gold.uses]
    if not known:
        return None
    lines = segment(rollout.text, rollout.reasoning_end)
    places = gold_places(graph, rollout.text, lines)
    of_gold = {
        gold: index
        for gold, span in places.items()
        for index, step in enumerate(shown)
        if step.start <= span.start and span.end <= step.end
    }
    uses: list[set[int]] = [set() for _ in shown]
    drawn = 0
    for use, step in known:
        earlier, later = of_gold.get(use), of_gold.get(step)
        if earlier is not None and later is not None and earlier < later:
            uses[later].add(earlier)
            drawn += 1
    return KnownGraph([sorted(sources) for sources in uses], drawn, len(known))
