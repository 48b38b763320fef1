"""The shape of a word problem before it has numbers: which quantity is made from which.

A plan is a list of moves. Move i makes quantity i, from earlier quantities or from numbers that
its sentence states. Joins state nothing: they follow from the question.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from apportion.tasks.words_stories import FAMILIES
from apportion.tasks.words_templates import NAMES, Family, Kind

# Asked for, not told: these have no sentence of their own.
JOIN = Kind("join", "+", "", ())
DIFFERENCE = Kind("difference", "-", "", ())
MAX_BLOCKS = 4


@dataclass(frozen=True)
class Move:
    """Makes one quantity. ``sources`` are the indices of the moves whose quantities it takes."""

    kind: Kind
    sources: tuple[int, ...] = ()
    variant: int = 0
    words: dict[str, str] = field(default_factory=dict)
    label: str = ""

    @property
    def computes(self) -> bool:
        return self.kind.op != "value"

    @property
    def phrase(self) -> str:
        return self.kind.phrases[self.variant] if self.kind.phrases else ""


@dataclass(frozen=True)
class Plan:
    """Moves, the question, and the template name that decides the split."""

    family: str
    moves: tuple[Move, ...]
    question: str
    words: dict[str, str]
    template: str

    @property
    def operations(self) -> int:
        return sum(move.computes for move in self.moves)


def _variant(rng: random.Random, phrases: tuple[str, ...]) -> int:
    return rng.randrange(len(phrases)) if phrases else 0


class Draft:
    """Collects moves in the order of the story."""

    def __init__(self, family: Family, rng: random.Random) -> None:
        self.family, self.rng = family, rng
        self.moves: list[Move] = []

    def add(self, kind: Kind, sources: tuple[int, ...], words: dict[str, str]) -> int:
        label = kind.label.format_map(words)
        variant = _variant(self.rng, kind.phrases)
        self.moves.append(Move(kind, sources, variant, words, label))
        return len(self.moves) - 1

    def join(self, parts: list[int], names: list[str], whole_label: str = "in all") -> int:
        """Add up the parts two at a time; the last sum is the whole."""
        whole = parts[0]
        for position, part in enumerate(parts[1:], start=1):
            label = f"with {names[position]}"
            if position == 1:
                label = f"{names[0]} and {names[1]}"
            if position == len(parts) - 1:
                label = whole_label
            self.moves.append(Move(JOIN, (whole, part), label=label))
            whole = len(self.moves) - 1
        return whole

    def finish(self, question: str, words: dict[str, str], fill: dict[str, str]) -> Plan:
        phrases = (
            self.family.compare.phrases
            if question == "compare"
            else self.family.questions[question]
        )
        variant = _variant(self.rng, phrases)
        parts = [f"{m.kind.name}{m.variant}" + "".join(map(str, m.sources)) for m in self.moves]
        template = "-".join([*parts, f"{question or 'total'}{variant}"])
        return Plan(
            self.family.name,
            tuple(self.moves),
            phrases[variant].format_map(words | fill),
            words,
            f"{self.family.name}/{template}",
        )


def person(rng: random.Random) -> dict[str, str]:
    name = rng.choice(list(NAMES))
    pronoun, his = NAMES[name]
    return {"name": name, "pronoun": pronoun, "his": his, "His": his.capitalize()}


def make_plan(family: str, operations: int, rng: random.Random) -> Plan:
    """A random plan with exactly this many operations (1..8)."""
    if family == "shares":
        return _shares_plan(FAMILIES[family], operations, rng)
    return _blocks_plan(FAMILIES[family], operations, rng)


def _blocks_plan(family: Family, operations: int, rng: random.Random) -> Plan:
    """Parts that are made, changed and added up; then the whole is changed."""
    words = person(rng)
    last = rng.choice(family.last) if rng.random() < 0.3 and operations > 1 else None
    rest = operations - (last is not None)
    changes = min(rng.choice((0, 0, 0, 1, 1, 2)), rest - 1)
    blocks, sizes = _block_sizes(rest - changes, rng)
    compare = blocks == 2 and not changes and last is None and rng.random() < 0.2
    # A change of the whole may come before all parts are there: then the sums nest.
    places = [rng.randint(1, blocks) if rng.random() < 0.4 else blocks for _ in range(changes)]
    kinds = rng.sample(family.total, changes)

    draft = Draft(family, rng)
    items = rng.sample(family.items, blocks)
    names, parts = [], []
    for index, item in enumerate(items):
        parts.append(_block(draft, sizes[index], words | {"item": item}))
        names.append(item)
        for kind, place in zip(kinds, places, strict=True):
            if place == index + 1:
                label = "in all" if place == blocks else "so far"
                whole = draft.join(parts, names, label)
                parts, names = [draft.add(kind, (whole,), words)], ["these"]
    question = ""
    if compare:
        question = "compare"
        draft.moves.append(Move(DIFFERENCE, tuple(parts), label=family.compare.label))
    else:
        whole = draft.join(parts, names)
        if last is not None:
            draft.add(last, (whole,), words)
            question = last.name
    fill = {"s": words["pronoun"], "first": items[0], "second": items[-1]}
    return draft.finish(question, words, fill)


def _block_sizes(operations: int, rng: random.Random) -> tuple[int, list[int]]:
    """Split operations into B blocks of 0..3 each and B - 1 joins."""
    feasible = [b for b in range(1, MAX_BLOCKS + 1) if b - 1 <= operations <= 4 * b - 1]
    # Where each part has a step of its own, taking the wrong one is a possible mistake.
    weights = [5 if operations - (b - 1) >= b > 1 else 1 for b in feasible]
    blocks = rng.choices(feasible, weights)[0]
    sizes = [0] * blocks
    for _ in range(operations - (blocks - 1)):
        smallest = min(sizes)
        open_blocks = [i for i, size in enumerate(sizes) if size < 3 and size <= smallest + 1]
        sizes[rng.choice(open_blocks)] += 1
    return blocks, sizes


def _block(draft: Draft, size: int, words: dict[str, str]) -> int:
    """One part of the whole with ``size`` operations; returns the index of its quantity."""
    family, rng = draft.family, draft.rng
    words = words | {"box": rng.choice(family.boxes)}
    plain = size == 0 or (size < 3 and rng.random() < 0.15)
    quantity = draft.add(family.plain if plain else family.product, (), words)
    for kind in rng.sample(family.block, size if plain else size - 1):
        quantity = draft.add(kind, (quantity,), words)
    return quantity


def _shares_plan(family: Family, operations: int, rng: random.Random) -> Plan:
    """People who have more or less than one another; some of them add up what they have."""
    while True:
        shape = _shares_shape(operations, rng)
        if shape is not None:
            break
    packed, refs, chosen, changes, last, compare = shape
    words = person(rng) | {"item": rng.choice(family.items), "box": rng.choice(family.boxes)}
    people = rng.sample(list(NAMES), len(refs) + 1)
    draft = Draft(family, rng)
    draft.add(family.product if packed else family.plain, (), words | {"name": people[0]})
    for index, ref in enumerate(refs, start=1):
        own = words | {"name": people[index], "ref": people[ref]}
        draft.add(rng.choice(family.block), (ref,), own)
    names = [people[i] for i in chosen]
    fill = {"people": " and ".join(names), "s": "they", "first": names[0], "second": names[-1]}
    words = words | {"name": people[0], "His": "His" if NAMES[people[0]][0] == "he" else "Her"}
    if compare:
        draft.moves.append(Move(DIFFERENCE, tuple(chosen), label=family.compare.label))
        return draft.finish("compare", words, fill)
    whole = draft.join(chosen, names)
    for kind in rng.sample(family.total, changes):
        whole = draft.add(kind, (whole,), words)
    question = "all" if changes else "one" if len(chosen) == 1 else ""
    if last:
        kind = rng.choice(family.last)
        draft.add(kind, (whole,), words)
        question = kind.name
    return draft.finish(question, words, fill)


def _shares_shape(
    operations: int, rng: random.Random
) -> tuple[bool, list[int], list[int], int, bool, bool] | None:
    """One try at (first is a product, whom each refers to, who is asked for, changes, ...).

    None where the count of operations does not come out. Everyone nobody refers to must be
    asked for, else a step would be useless.
    """
    packed = rng.random() < 0.4
    count = rng.randint(0, min(5, operations))
    refs = [rng.randint(max(0, i - 2), i) for i in range(count)]
    sinks = {i for i in range(count + 1) if i not in refs}
    last = rng.random() < 0.3
    changes = rng.choice((0, 0, 1, 1, 2))
    # "All of them" is only clear when everyone is asked for.
    everyone = last or changes > 0 or rng.random() < 0.5
    chosen = [i for i in range(count + 1) if everyone or i in sinks or rng.random() < 0.2]
    if (last or changes) and not count:
        return None  # "they" are at least two
    if packed + count + len(chosen) - 1 + changes + last != operations:
        return None
    compare = len(chosen) == 2 and not changes and not last and rng.random() < 0.3
    return packed, refs, chosen, changes, last, compare
