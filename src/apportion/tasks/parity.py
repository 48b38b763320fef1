"""Rows of bits to copy or to take the parity of: what a state carries over many steps.

Both are easy to state and hard to carry: copying shows how far a value survives, parity how far
it survives being changed at every bit.
"""

from __future__ import annotations

import random
from typing import Literal

from pydantic import Field, field_validator

from apportion.errors import UserError
from apportion.tasks.answers import after_mark
from apportion.tasks.base import Planted, Split, TaskOptions, check_split, complaints_of
from apportion.tasks.lines import join_lines, reasoning_end
from apportion.tasks.made import check_range, split_by_hash
from apportion.tasks.stable import stable_hash
from apportion.trace import Problem

_TRIES = 1000


class ParityOptions(TaskOptions):
    """``rule`` "parity" asks whether the number of ones is odd (1) or even (0), "copy" for the bits
    themselves. ``bits`` is [lowest, highest]."""

    rule: Literal["parity", "copy"] = "parity"
    bits: tuple[int, int] = Field(default=(8, 16))

    @field_validator("bits")
    @classmethod
    def _range(cls, value: tuple[int, int]) -> tuple[int, int]:
        return check_range(value, 5, 256)


class Parity:
    """The task ``parity``; options in :class:`ParityOptions`."""

    name = "parity"

    def __init__(self, options: ParityOptions | None = None) -> None:
        self.options = options or ParityOptions()

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """No row of bits occurs in two splits. Raises UserError for an unknown split."""
        check_split(split)
        return [self._problem(split, index, seed) for index in range(n)]

    def score(self, problem: Problem, text: str) -> float | None:
        """1.0 where the first ``####`` line holds the gold bits, blanks aside."""
        if not problem.answers:
            return None
        marked = (after_mark(text) or "").split("\n", 1)[0]
        return float(marked.split() == problem.answers[0].split())

    reasoning_end = staticmethod(reasoning_end)

    def gold_completion(self, problem: Problem) -> str | None:
        """Parity: the parity so far after each bit, one a line. Copy: the answer alone."""
        if not problem.answers:
            return None
        if self.options.rule == "copy":
            return join_lines([], problem.answers[0])
        bits = [int(bit) for bit in problem.prompt.split()]
        lines, odd = [], bits[0]
        for bit in bits[1:]:
            lines.append(f"{odd} xor {bit} = {odd ^ bit}")
            odd ^= bit
        return join_lines(lines, str(odd))

    def corruptions(self, problem: Problem, seed: int) -> list[Planted]:
        """None: no reviewer here reads exclusive or."""
        return []

    def validate(self, n: int) -> list[str]:
        def flipped(problem: Problem) -> str:
            first, rest = problem.answers[0][0], problem.answers[0][1:]
            return f"#### {1 - int(first)}{rest}"

        return complaints_of(self, n, flipped)

    def _problem(self, split: Split, index: int, seed: int) -> Problem:
        rng = random.Random(stable_hash(f"parity {seed} {split} {index}"))
        for _ in range(_TRIES):
            bits = [rng.randint(0, 1) for _ in range(rng.randint(*self.options.bits))]
            row = " ".join(map(str, bits))
            if split_by_hash(row) == split:
                answer = row if self.options.rule == "copy" else str(sum(bits) % 2)
                name = f"parity-{split}-{seed}-{index}"
                return Problem(id=name, prompt=row + "\n", answers=(answer,))
        raise UserError(f"task parity: no {split} row of {self.options.bits} bits: allow more bits")
