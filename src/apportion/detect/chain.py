"""A chain of thought as the detectors read it: its steps, equations, and who uses which number."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from apportion.review.reading import Equation, Value, numbers_in, read_equations, stated_answer
from apportion.review.reading.phrases import CHECKING
from apportion.trace import Step

# Counts what looks computed where prose keeps the equations from being read one by one.
_LOOKS_COMPUTED = re.compile(r"[\d)]\s*[-+*/×÷−]\s*[($]*\d[^=\n]*=")
_MARK = re.compile(r"<<[^<>]*>>")


@dataclass(frozen=True, slots=True)
class Sum:
    """One computation. ``start`` and ``end`` are characters of the whole text."""

    step: int
    start: int
    end: int
    operands: tuple[Value, ...]
    stated: Value | None
    right: bool | None

    @property
    def operations(self) -> int:
        return max(1, len(self.operands) - 1)

    @property
    def key(self) -> tuple[tuple[Value, ...], Value | None]:
        """Equal for two that compute the same number from the same numbers."""
        return tuple(sorted(self.operands)), self.stated

    @property
    def numbers(self) -> tuple[Value, ...]:
        """Operands and result, sorted: equal for a computation and its reversal."""
        result = () if self.stated is None else (self.stated,)
        return tuple(sorted((*self.operands, *result)))


@dataclass(frozen=True)
class Chain:
    """``sums`` are in the order of the text; ``known`` holds, for each step, the numbers that the
    problem and the steps before it state. ``unread`` are steps that state numbers without a sum
    that can be read, and do not speak of checking: what they take is not known. ``answer`` is the
    stated one, else what the last step that does not speak of checking arrives at, else None."""

    text: str
    steps: tuple[Step, ...]
    texts: tuple[str, ...]
    sums: tuple[Sum, ...]
    known: tuple[frozenset[Value], ...]
    unread: tuple[int, ...]
    answer: Value | None

    @cached_property
    def of_step(self) -> tuple[tuple[tuple[int, Sum], ...], ...]:
        """The sums of each step, each with its place among all of them."""
        found: list[list[tuple[int, Sum]]] = [[] for _ in self.steps]
        for place, s in enumerate(self.sums):
            found[s.step].append((place, s))
        return tuple(map(tuple, found))

    @cached_property
    def with_numbers(self) -> dict[tuple[Value, ...], list[Sum]]:
        """The sums by their :attr:`Sum.numbers`, in order."""
        found: dict[tuple[Value, ...], list[Sum]] = defaultdict(list)
        for s in self.sums:
            found[s.numbers].append(s)
        return found

    @cached_property
    def checks(self) -> tuple[re.Match[str] | None, ...]:
        """Where each step speaks of checking."""
        return tuple(CHECKING.search(text) for text in self.texts)

    @cached_property
    def work(self) -> tuple[tuple[int, int], ...]:
        """(equations, operations) of each step."""
        counts = []
        for text, own in zip(self.texts, self.of_step, strict=True):
            equations = len(own)
            if "=" in text:
                looks = len(_LOOKS_COMPUTED.findall(_MARK.sub("", text)))
                equations = max(equations, looks)
            counts.append((equations, max(equations, sum(s.operations for _, s in own))))
        return tuple(counts)

    def uses_after(self, place: int, value: Value) -> int:
        """How often ``value`` may be taken after the sum number ``place`` (-1: anywhere): by a
        sum, by the answer, or by a step that cannot be read."""
        taken = 0
        for same in _same(value):
            places = self._taken_at.get(same, ())
            taken += len(places) - bisect_right(places, place)
        step = self.sums[place].step if place >= 0 else -1
        unread = len(self.unread) - bisect_right(self.unread, step)
        return taken + (value == self.answer) + unread

    @cached_property
    def _taken_at(self) -> dict[Value, list[int]]:
        """The places of the sums that take each number, in order, once for each time."""
        found: dict[Value, list[int]] = defaultdict(list)
        for place, s in enumerate(self.sums):
            for operand in s.operands:
                found[operand].append(place)
        return found


def read_chain(text: str, steps: Sequence[Step], prompt: str = "") -> Chain:
    """Read every step once. ``steps`` are spans of ``text``, in order; ``prompt`` is the problem,
    whose numbers count as known."""
    texts = tuple(step.text(text) for step in steps)
    sums: list[Sum] = []
    known: list[frozenset[Value]] = []
    unread: list[int] = []
    seen = numbers_in(prompt)
    for index, (step, own) in enumerate(zip(steps, texts, strict=True)):
        known.append(seen)
        sums.extend(_sums(index, step.start, own))
        stated = numbers_in(own)
        if stated and not (sums and sums[-1].step == index) and not CHECKING.search(own):
            unread.append(index)
        seen = seen | stated
    answer = _answer(text, steps, sums)
    return Chain(text, tuple(steps), texts, tuple(sums), tuple(known), tuple(unread), answer)


def _sums(index: int, offset: int, text: str) -> list[Sum]:
    """The computations of a step. What is written twice, in a calculator mark and around it, is
    one."""
    found: list[Sum] = []
    for equation in read_equations(text):
        if not equation.computes:
            continue
        made = _sum(index, offset, equation)
        if found and (made.start < found[-1].end or made.key == found[-1].key):
            last = found[-1]
            right = last.right if made.right is None else made.right
            found[-1] = Sum(
                index, last.start, max(last.end, made.end), last.operands, last.stated, right
            )
        else:
            found.append(made)
    return found


def _sum(index: int, offset: int, equation: Equation) -> Sum:
    return Sum(
        step=index,
        start=equation.start + offset,
        end=equation.end + offset,
        operands=tuple(number.value for number in equation.operands),
        stated=equation.stated,
        right=equation.right,
    )


def _answer(text: str, steps: Sequence[Step], sums: Sequence[Sum]) -> Value | None:
    stated = stated_answer(text[steps[-1].end :]) or stated_answer(text) if steps else None
    if stated is not None:
        return stated[0]
    plain = [s.stated for s in sums if not CHECKING.search(steps[s.step].text(text))]
    return plain[-1] if plain else None


def _same(value: Value) -> set[Value]:
    """What a number may be taken over as: itself, a percentage or a hundredth of itself."""
    return {value, Fraction(value) / 100, Fraction(value) * 100}
