"""Where the numbers of a chain come from, number by number.

The offline reviewer follows steps; this follows each number that a step computes with, so that
somebody who is asked about it can say what it is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from apportion.review.arithmetic import CONSTANTS, MAX_SOURCES
from apportion.review.reading import Equation, Value, numbers_in, read_equations
from apportion.review.reading.lexer import Number
from apportion.review.reading.numbers import parse_literal
from apportion.segment import segment

_FIGURES = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Taken:
    """A number that a step computes with; ``start`` and ``end`` are characters of the step.

    ``steps`` are the earlier steps that arrive at it, ``sentences`` those of the problem that
    state it. ``source`` is the step that it is taken from, None where that is none. Where several
    may be meant it is the last one whose number nothing had taken yet; else none of them where the
    problem states the number more often than it was taken; else the last.
    """

    value: Value
    start: int
    end: int
    steps: tuple[int, ...]
    sentences: tuple[str, ...]
    source: int | None

    @property
    def known(self) -> bool:
        """Whether it stands anywhere before, or is a constant that anybody may bring along."""
        return bool(self.steps or self.sentences) or self.value in CONSTANTS

    @property
    def ambiguous(self) -> bool:
        """Whether it may come from more than one place."""
        return len(self.steps) + bool(self.sentences and self.steps) > 1


@dataclass(frozen=True, slots=True)
class StepNumbers:
    """The equations of a step, what it takes from outside itself, and what it arrives at."""

    equations: tuple[Equation, ...]
    taken: tuple[Taken, ...]
    results: tuple[Value, ...]


def sentences_of(problem: str) -> tuple[str, ...]:
    """The sentences of a problem, in order, without the white space around them."""
    return tuple(step.text(problem).strip() for step in segment(problem, how="sentence"))


def statements_in(text: str) -> Counter[Value]:
    """How often each number stands in a text in figures."""
    literals = (parse_literal(match.group()) for match in _FIGURES.finditer(text))
    return Counter(literal[0] for literal in literals if literal is not None)


def read_numbers(problem: str, texts: Sequence[str]) -> tuple[StepNumbers, ...]:
    """One entry per step. A step that only computes again what an earlier one did is no source."""
    ledger = _Ledger(problem)
    seen: set[object] = set()
    found = []
    for index, text in enumerate(texts):
        # "3 * 4 = <<3*4=12>>12" is one computation that is written twice.
        equations = tuple({equation.key: equation for equation in read_equations(text)}.values())
        own: dict[Value, None] = {}
        taken: list[Taken] = []
        for equation in equations:
            outside = [n for n in equation.operands if not _values(n) & own.keys()]
            taken += [ledger.take(number) for number in outside]
            for result in equation.results:
                own |= dict.fromkeys(result.values)
        keys = {equation.key for equation in equations}
        if not (keys and keys <= seen):
            for value in own:
                ledger.producers.setdefault(value, []).append(index)
        seen |= keys
        found.append(StepNumbers(equations, tuple(taken), tuple(own)))
    return tuple(found)


def users_of(index: int, steps: Sequence[StepNumbers]) -> tuple[int, ...]:
    """The later steps that take a number at which step ``index`` arrives."""
    return tuple(
        later
        for later in range(index + 1, len(steps))
        if any(taken.source == index for taken in steps[later].taken)
    )


def takers_of(value: Value, steps: Sequence[StepNumbers]) -> tuple[int, ...]:
    """The steps that take a number of the problem, each as often as it does."""
    return tuple(
        index
        for index, step in enumerate(steps)
        for taken in step.taken
        if taken.value == value and taken.source is None and taken.sentences
    )


class _Ledger:
    """What the problem states and the steps arrive at, and how much of it was taken so far."""

    def __init__(self, problem: str) -> None:
        self.stated = [(sentence, numbers_in(sentence)) for sentence in sentences_of(problem)]
        self.producers: dict[Value, list[int]] = {}
        self._statements = statements_in(problem)
        self._of_problem: Counter[Value] = Counter()
        self._used: set[tuple[int, Value]] = set()

    def take(self, number: Number) -> Taken:
        values = _values(number)
        steps = sorted(
            {s for value in values for s in self.producers.get(value, ())[-MAX_SOURCES:]}
        )
        sentences = tuple(sentence for sentence, stated in self.stated if values & stated)
        stated = max(self._statements[number.value], len(sentences))
        source = self._source(number.value, steps, stated)
        if source is None:
            self._of_problem[number.value] += 1
        else:
            self._used.add((source, number.value))
        return Taken(number.value, number.start, number.end, tuple(steps), sentences, source)

    def _source(self, value: Value, steps: Sequence[int], statements: int) -> int | None:
        fresh = [step for step in steps if (step, value) not in self._used]
        if fresh:
            return fresh[-1]
        if not steps or statements > self._of_problem[value]:
            return None
        return steps[-1]


def _values(operand: Number) -> set[Value]:
    """A percentage has two readings."""
    values: set[Value] = {operand.value}
    return values | {Fraction(operand.value) / 100} if operand.percent else values
