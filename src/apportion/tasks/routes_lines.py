"""The lines that a chain of task ``routes`` is made of, true ones and tampered ones."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import NamedTuple

FIRST = ("so", "then", "now", "thus", "hence", "next")
SECOND = ("simply", "clearly", "plainly", "surely", "merely", "directly")
LARGEST = len(FIRST) * len(SECOND)
_TRIES = 20

Move = tuple[str, int]


class Line(NamedTuple):
    """One line of a chain; ``said`` is the number that its words spell. A ``check`` undoes a line
    before it."""

    left: int
    op: str
    term: int
    result: int
    said: int
    check: bool = False

    @property
    def text(self) -> str:
        first, second = code(self.said)
        check = "check " if self.check else ""
        return f"{first} {second} {check}{self.left} {self.op} {self.term} = {self.result}"


def code(value: int) -> tuple[str, str]:
    """The two words that spell a number from 1 to :data:`LARGEST`."""
    first, second = divmod(value - 1, len(SECOND))
    return FIRST[first], SECOND[second]


def walk(start: int, moves: list[Move], made: dict[int, int] | None = None) -> list[Line]:
    """The lines from left to right; ``made`` are results by place that are not computed."""
    lines: list[Line] = []
    value = start
    for place, (op, term) in enumerate(moves):
        result = value + term if op == "+" else value - term
        result = (made or {}).get(place, result)
        lines.append(Line(value, op, term, result, result))
        value = result
    return lines


def made_up(
    start: int, moves: list[Move], places: Collection[int], largest: int, rng: random.Random
) -> list[Line]:
    """The lines with the results at ``places`` made up, each carried on rightly and all of them
    within 1 and ``largest``; the true lines where none such are found."""
    for _ in range(_TRIES if places else 0):
        made = {place: rng.randint(1, largest) for place in places}
        lines = walk(start, moves, made)
        if all(1 <= line.result <= largest for line in lines):
            return lines
    return walk(start, moves)


def with_aside(lines: list[Line], largest: int, rng: random.Random) -> list[Line]:
    """The lines with one more: a check of one of them somewhere behind it, or a wrong line right
    before the one that puts it right. Its words spell any number."""
    if not lines:
        return lines
    place = rng.randrange(len(lines))
    any_number = rng.randint(1, largest)
    if rng.random() < 0.5:
        at = rng.randint(place + 1, len(lines))
        return [*lines[:at], check_of(lines[place])._replace(said=any_number), *lines[at:]]
    slip = slip_of(lines[place], largest, rng)._replace(said=any_number)
    return [*lines[:place], slip, *lines[place:]]


def check_of(line: Line) -> Line:
    """The line that undoes another."""
    undo = "-" if line.op == "+" else "+"
    return Line(line.result, undo, line.term, line.left, line.left, check=True)


def slip_of(line: Line, largest: int, rng: random.Random) -> Line:
    """The same line with a wrong result from 1 to ``largest``."""
    wrong = rng.choice([n for n in range(1, largest + 1) if n != line.result])
    return line._replace(result=wrong, said=wrong)
