"""Errors planted in the gold solution of a word problem.

A wrong value is carried on: the steps after it compute rightly from what they were given, as a
model that slipped would. Values stay whole and positive, so some problems have no place for some
kinds; these are left out.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from apportion.tasks.arithmetic import arithmetic
from apportion.tasks.base import Planted
from apportion.tasks.plant import Fault, planted, wrong_value
from apportion.tasks.stable import stable_hash
from apportion.trace import Problem

LARGEST = 999
# Subjects of detours, by a word of the irrelevant fact that they start from.
_DETOURS = {
    "bag": "bag years",
    "house": "house windows",
    "rained": "minutes",
    "woke": "minutes",
    "dog": "dog years",
    "class": "chairs",
    "years": "years",
}


@dataclass(frozen=True)
class Line:
    """One written step. ``sources`` are the lines that the left and the right operand take from."""

    label: str
    op: str
    operands: tuple[int, int]
    sources: tuple[int | None, int | None]
    result: int

    @property
    def text(self) -> str:
        return f"{self.label} {self.operands[0]} {self.op} {self.operands[1]} = {self.result}"

    @property
    def uses(self) -> tuple[int, ...]:
        return tuple(sorted({s for s in self.sources if s is not None}))

    def span(self, what: int) -> tuple[int, int]:
        """Span in the text of operand 0 or 1, or of the result (2)."""
        numbers = list(re.finditer(r"\d+", self.text[len(self.label) :]))
        return len(self.label) + numbers[what].start(), len(self.label) + numbers[what].end()


def gold_lines(problem: Problem) -> list[Line]:
    """The gold steps of a ``words`` problem, with the source of each operand."""
    steps = problem.meta["steps"]
    lines: list[Line] = []
    for step in steps:
        left, op, right = step["expression"].split(" ")
        operands = (int(left), int(right))
        label = step["text"].removesuffix(f" {step['expression']} = {step['result']}")
        unclaimed = list(step["uses"])
        sources: list[int | None] = []
        for operand in operands:
            match = next((u for u in unclaimed if steps[u]["result"] == operand), None)
            if match is not None:
                unclaimed.remove(match)
            sources.append(match)
        lines.append(Line(label, op, operands, (sources[0], sources[1]), step["result"]))
    return lines


def plant(problem: Problem, seed: int) -> list[Planted]:
    """The clean solution and one completion of each kind of error that the problem has room for."""
    rng = random.Random(stable_hash(f"plant {seed} {problem.id}"))
    lines = gold_lines(problem)
    answer = int(problem.answers[0])
    made = [planted("clean", _texts(lines), str(answer), {}, uses=_uses(lines))]
    makers: tuple[Callable[..., Planted | None], ...] = (
        _wrong_arithmetic,
        _wrong_operand,
        _irrelevant_step,
        _dropped_step,
        _lucky_answer,
    )
    made.extend(p for maker in makers if (p := maker(problem, lines, answer, rng)) is not None)
    return made


def _texts(lines: list[Line]) -> list[str]:
    return [line.text for line in lines]


def _uses(lines: list[Line]) -> dict[int, tuple[int, ...]]:
    return {index: line.uses for index, line in enumerate(lines)}


def _shuffled(rng: random.Random, items: list[int]) -> Iterator[int]:
    return iter(rng.sample(items, len(items)))


def carry_on(lines: list[Line], changed: int, line: Line) -> list[Line] | None:
    """Replace one line and compute the later ones from it; None where a value leaves 1..999."""
    done = [*lines[:changed], line]
    for old in lines[changed + 1 :]:
        left, right = (
            done[source].result if source is not None else operand
            for source, operand in zip(old.sources, old.operands, strict=True)
        )
        value = _value(left, old.op, right)
        if value is None:
            return None
        done.append(Line(old.label, old.op, (left, right), old.sources, value))
    return done


def _value(left: int, op: str, right: int) -> int | None:
    value = arithmetic(f"{left} {op} {right}")
    whole = value is not None and value.denominator == 1 and 1 <= value <= LARGEST
    return int(value) if whole and value is not None else None


def _with_result(line: Line, result: int) -> Line:
    return Line(line.label, line.op, line.operands, line.sources, result)


def _slips(lines: list[Line], rng: random.Random) -> Iterator[tuple[int, Line, list[Line]]]:
    """Wrong results that can be carried on to the end: (index, wrong line, all lines)."""
    for index in _shuffled(rng, list(range(len(lines)))):
        for _ in range(6):
            wrong = wrong_value(Fraction(lines[index].result), rng)
            if wrong > LARGEST:
                continue
            line = _with_result(lines[index], int(wrong))
            carried = carry_on(lines, index, line)
            if carried is not None:
                yield index, line, carried
                break


def _result_fault(line: Line, right: int) -> Fault:
    reason = f"{line.operands[0]} {line.op} {line.operands[1]} is {right}"
    return Fault(line.span(2), reason, _with_result(line, right).text)


def _wrong_arithmetic(
    problem: Problem, lines: list[Line], answer: int, rng: random.Random
) -> Planted | None:
    for index, line, carried in _slips(lines, rng):
        if carried[-1].result != answer:
            fault = {index: _result_fault(line, lines[index].result)}
            final = str(carried[-1].result)
            return planted("wrong_arithmetic", _texts(carried), final, fault, uses=_uses(carried))
    return None


def _wrong_operand(
    problem: Problem, lines: list[Line], answer: int, rng: random.Random
) -> Planted | None:
    """A step that takes another number of the problem, or of an earlier step, and computes on."""
    stated = {int(number): None for number in re.findall(r"\d+", problem.prompt)}
    for index in _shuffled(rng, list(range(len(lines)))):
        line, side = lines[index], rng.randint(0, 1)
        known: dict[int, int | None] = stated | {e.result: i for i, e in enumerate(lines[:index])}
        for number in _shuffled(rng, [n for n in known if n not in line.operands]):
            operands, sources = list(line.operands), list(line.sources)
            operands[side], sources[side] = number, known[number]
            value = _value(operands[0], line.op, operands[1])
            if value is None or value == line.result:
                continue
            wrong = Line(
                line.label, line.op, (operands[0], operands[1]), (sources[0], sources[1]), value
            )
            carried = carry_on(lines, index, wrong)
            if carried is not None and carried[-1].result != answer:
                reason = f"takes {number} where {line.operands[side]} belongs"
                fault = {index: Fault(wrong.span(side), reason, line.text)}
                final = str(carried[-1].result)
                return planted("wrong_operand", _texts(carried), final, fault, uses=_uses(carried))
    return None


def _irrelevant_step(
    problem: Problem, lines: list[Line], answer: int, rng: random.Random
) -> Planted | None:
    """A true sum that nothing uses, of an irrelevant fact where the problem has one."""
    position = rng.randint(0, len(lines) - 1)
    facts = problem.meta["distractors"]
    stated = [int(number) for number in re.findall(r"\d+", problem.prompt)]
    label, first = "all these things", rng.choice(stated)
    if facts:
        fact = rng.choice(facts)
        label = next(name for word, name in _DETOURS.items() if word in fact)
        first = int(re.findall(r"\d+", fact)[0])
    # Its value must not look as if a later step used it.
    taken = {answer} | {number for line in lines for number in (*line.operands, line.result)}
    taken |= set(stated)
    for second in _shuffled(rng, stated):
        value = _value(first, "+", second)
        if value is not None and value not in taken:
            break
    else:
        return None
    detour = Line(label, "+", (first, second), (None, None), value)
    moved = [_shifted(line, position, 1) for line in lines]
    written = [*moved[:position], detour, *moved[position:]]
    return planted(
        "irrelevant_step",
        _texts(written),
        str(answer),
        {},
        irrelevant=frozenset({position}),
        uses=_uses(written),
    )


def _dropped_step(
    problem: Problem, lines: list[Line], answer: int, rng: random.Random
) -> Planted | None:
    """A step that a later one needs is not written."""
    if len(lines) < 2:
        return None
    gone = rng.randrange(len(lines) - 1)
    orphans = {i - 1 for i, line in enumerate(lines) if gone in line.uses}
    written = [
        _shifted(line, gone + 1, -1, without=gone) for i, line in enumerate(lines) if i != gone
    ]
    return planted(
        "dropped_step",
        _texts(written),
        str(answer),
        {},
        undecided=frozenset(orphans),
        uses=_uses(written),
    )


def _shifted(line: Line, start: int, by: int, without: int | None = None) -> Line:
    """The line with its sources from ``start`` on renumbered, and one of them forgotten."""
    left, right = (
        None if s is None or s == without else s + by if s >= start else s for s in line.sources
    )
    return Line(line.label, line.op, line.operands, (left, right), line.result)


def _lucky_answer(
    problem: Problem, lines: list[Line], answer: int, rng: random.Random
) -> Planted | None:
    """A wrong step, and yet the right final answer.

    Half of the time the wrong value is carried on and the answer line does not follow from it;
    else the later steps go on from the right value, as if the wrong one had not been written.
    """
    for index, line, carried in _slips(lines, rng):
        if rng.random() < 0.5:
            carried = [*lines[:index], line, *lines[index + 1 :]]
            carried = [_shifted(line, 0, 0, without=index) for line in carried]
        fault = {index: _result_fault(line, lines[index].result)}
        return planted("lucky_answer", _texts(carried), str(answer), fault, uses=_uses(carried))
    return None
