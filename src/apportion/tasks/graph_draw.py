"""Draws a forest with one way to the answer, and writes it as a question.

Two trees of the same kind hang side by side, one from the entity and one from a node that the
entity has nothing to do with. Each has a chain of as many hops and the same number of dead ends,
so that neither depth nor the number of edges gives the answer away: only following them does.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

Style = Literal["sentences", "arrows"]

_ENTITIES = ("Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hana", "Ida", "Jon")
_ONSETS = ("bl", "d", "f", "gr", "j", "k", "l", "m", "n", "p", "qu", "r", "st", "t", "v", "z")
_RIMES = ("ab", "ack", "eld", "em", "ib", "ift", "og", "omp", "ub", "usk")
KINDS = tuple(onset + rime for onset in _ONSETS for rime in _RIMES)
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")


@dataclass(frozen=True)
class Graph:
    """``edges`` are (from, to) in the order of the question; node ``root`` is the entity, ``path``
    the nodes from it to ``target``, and ``other`` the answer that is wrong."""

    names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    path: tuple[int, ...]
    other: int
    style: Style

    @property
    def root(self) -> int:
        return self.path[0]

    @property
    def target(self) -> int:
        return self.path[-1]


def draw(hops: int, dead_ends: int, style: Style, rng: random.Random) -> Graph:
    """A graph whose answer is ``hops`` edges away, with ``dead_ends`` wrong turns in each tree."""
    edges: list[tuple[int, int]] = []
    count = 0

    def grow() -> list[int]:
        nonlocal count
        chain = list(range(count, count + hops + 1))
        count += hops + 1
        edges.extend(pairwise(chain))
        tree = chain[:-1]
        for _ in range(dead_ends):
            edges.append((rng.choice(tree), count))
            tree.append(count)
            count += 1
        return chain

    path, elsewhere = grow(), grow()
    rng.shuffle(edges)
    if style == "arrows":
        names = rng.sample(LETTERS, count)
    else:
        names = [rng.choice(_ENTITIES), *rng.sample(KINDS, count - 1)]
    return Graph(tuple(names), tuple(edges), tuple(path), elsewhere[-1], style)


def largest_dead_ends(hops: int, style: Style) -> int:
    """How many dead ends a tree may have before the names run out."""
    names = len(LETTERS) if style == "arrows" else len(KINDS)
    return (names - 2 * (hops + 1)) // 2


def row_of(graph: Graph, swap: bool) -> dict[str, Any]:
    """The row of Coconut's data files (github.com/facebookresearch/coconut, data/prosqa_*.json);
    with ``swap`` the wrong answer is named first."""
    ends = [graph.target, graph.other]
    first, second = (graph.names[n] for n in (reversed(ends) if swap else ends))
    facts = [_edge(graph, a, b) for a, b in graph.edges]
    steps = [_edge(graph, a, b) for a, b in pairwise(graph.path)]
    entity, right = graph.names[graph.root], graph.names[graph.target]
    if graph.style == "arrows":
        question, answer = f"{' '.join(facts)} {entity}? {first} {second}", right
    else:
        question = f"{' '.join(facts)} Is {entity} a {first} or a {second}?"
        answer = f"{entity} is a {right}."
    return {
        "question": question,
        "answer": answer,
        "steps": steps,
        "idx_to_symbol": list(graph.names),
        "edges": [list(edge) for edge in graph.edges],
        "root": graph.root,
        "target": graph.target,
        "neg_target": graph.other,
    }


def _edge(graph: Graph, a: int, b: int) -> str:
    if graph.style == "arrows":
        return f"{graph.names[a]}>{graph.names[b]}"
    return f"{'' if a == graph.root else 'Every '}{graph.names[a]} is a {graph.names[b]}."
