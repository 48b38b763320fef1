"""Chains of additions and subtractions: short, so that a training run takes a minute.

The solution works from left to right, one operation a line. In the style ``checked`` each line is
followed by one that undoes it, a true step that nothing needs.
"""

from __future__ import annotations

import random
from typing import Any, Literal

from pydantic import Field, field_validator

from apportion.tasks.answers import after_mark
from apportion.tasks.base import Planted, Split, TaskOptions, check_split, complaints_of
from apportion.tasks.lines import join_lines, reasoning_end
from apportion.tasks.made import check_range, split_by_hash
from apportion.tasks.numbers import parse_number, same_number
from apportion.tasks.stable import stable_hash
from apportion.tasks.words_errors import plant
from apportion.trace import Problem

Style = Literal["plain", "checked"]


class SumsOptions(TaskOptions):
    """``operations`` and ``terms`` are [lowest, highest]; every result lies in 1 to ``largest``.

    ``styles`` are those of the gold solutions, drawn for each problem with equal chances.
    """

    operations: tuple[int, int] = (3, 6)
    terms: tuple[int, int] = (1, 20)
    largest: int = Field(default=99, ge=20, le=999)
    styles: tuple[Style, ...] = ("plain",)

    @field_validator("operations", "terms")
    @classmethod
    def _ranges(cls, value: tuple[int, int], info: Any) -> tuple[int, int]:
        highest = {"operations": 16, "terms": 500}[info.field_name]
        return check_range(value, 1, highest)

    @field_validator("styles")
    @classmethod
    def _some(cls, value: tuple[Style, ...]) -> tuple[Style, ...]:
        if not value:
            raise ValueError("name at least one of plain, checked")
        return value


class Sums:
    """The task ``sums``; options in :class:`SumsOptions`."""

    name = "sums"

    def __init__(self, options: SumsOptions | None = None) -> None:
        self.options = options or SumsOptions()

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """No prompt occurs in two splits. Raises UserError for an unknown split."""
        check_split(split)
        return [self._problem(split, index, seed) for index in range(n)]

    def score(self, problem: Problem, text: str) -> float | None:
        """1.0 where the first ``####`` line holds the gold number and no other."""
        if not problem.answers:
            return None
        marked = after_mark(text)
        number = parse_number(marked.split("\n", 1)[0]) if marked is not None else None
        gold = parse_number(problem.answers[0])
        return float(number is not None and gold is not None and same_number(gold, number))

    reasoning_end = staticmethod(reasoning_end)

    def gold_completion(self, problem: Problem) -> str | None:
        if "steps" not in problem.meta or not problem.answers:
            return None
        lines: list[str] = []
        for step in problem.meta["steps"]:
            lines.append(step["text"])
            if problem.meta.get("style") == "checked":
                lines.append(check_line(step))
        return join_lines(lines, problem.answers[0])

    def corruptions(self, problem: Problem, seed: int) -> list[Planted]:
        """One of each kind that the problem has room for; the clean one first."""
        return plant(problem, seed) if "steps" in problem.meta else []

    def validate(self, n: int) -> list[str]:
        return complaints_of(self, n, lambda problem: f"#### {int(problem.answers[0]) + 1}")

    def _problem(self, split: Split, index: int, seed: int) -> Problem:
        rng = random.Random(stable_hash(f"sums {seed} {split} {index}"))
        operations = rng.randint(*self.options.operations)
        style = rng.choice(self.options.styles)
        while True:
            start, moves = self.draw(operations, rng)
            prompt = str(start) + "".join(f" {op} {term}" for op, term in moves)
            if split_by_hash(prompt) == split:
                return _write(f"sums-{split}-{seed}-{index}", prompt, start, moves, style)

    def draw(self, operations: int, rng: random.Random) -> tuple[int, list[tuple[str, int]]]:
        """A first number and that many (operator, term), every result within the range."""
        low, high = self.options.terms
        start = value = rng.randint(low, min(high, self.options.largest))
        moves: list[tuple[str, int]] = []
        while len(moves) < operations:
            op, term = rng.choice("+-"), rng.randint(low, high)
            reached = value + term if op == "+" else value - term
            if 1 <= reached <= self.options.largest:
                value = reached
                moves.append((op, term))
            elif not self._can_move(value):  # a dead end: wide terms in a narrow range
                start = value = rng.randint(low, min(high, self.options.largest))
                moves = []
        return start, moves

    def _can_move(self, value: int) -> bool:
        low = self.options.terms[0]
        return value + low <= self.options.largest or value - low >= 1


def check_line(step: dict[str, Any]) -> str:
    """The line that undoes a step: ``check 17 - 14 = 3`` after ``so 3 + 14 = 17``."""
    left, op, right = step["expression"].split(" ")
    undo = "-" if op == "+" else "+"
    return f"check {step['result']} {undo} {right} = {left}"


def _write(
    name: str, prompt: str, start: int, moves: list[tuple[str, int]], style: Style
) -> Problem:
    steps: list[dict[str, Any]] = []
    value = start
    for op, term in moves:
        expression = f"{value} {op} {term}"
        value = value + term if op == "+" else value - term
        steps.append(
            {
                "text": f"so {expression} = {value}",
                "expression": expression,
                "result": value,
                "uses": [len(steps) - 1] if steps else [],
            }
        )
    return Problem(
        id=name,
        prompt=f"{prompt}\n",
        answers=(str(value),),
        meta={
            "steps": steps,
            "edges": [[i - 1, i] for i in range(1, len(steps))],
            "distractors": [],
            "operations": len(steps),
            "style": style,
        },
    )
