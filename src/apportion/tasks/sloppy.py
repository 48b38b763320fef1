"""Another task, shown by a teacher with bad habits.

Reinforcement learning brings out what a policy can do already and does not do reliably. A policy
that learned from this teacher is such a one: it knows how to work, and in some situations has the
habit of slipping. Each habit is a decision of its own that credit has to find.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field

from apportion.tasks.base import Planted, Split, Task, TaskOptions
from apportion.tasks.stable import stable_hash
from apportion.tasks.words_errors import Line, carry_on, gold_lines
from apportion.trace import Problem

_OFFSETS = (1, -1, 2, -2, 10, -10)


class SloppyOptions(TaskOptions):
    """``habits``: the share of (operation, right operand) pairs that the teacher has a habit of
    getting wrong, always by the same amount; ``slip``: how often it gives in to it. ``inner`` is
    a task that knows its steps."""

    inner: str | dict[str, Any] = "sums"
    habits: float = Field(default=0.3, ge=0, le=1)
    slip: float = Field(default=0.6, ge=0, le=1)


class Sloppy:
    """The task ``sloppy``; options in :class:`SloppyOptions`.

    Problems and scores are the inner task's; only the gold solutions, which a warm start learns
    from, hold slips. A slip is carried on: the later steps compute rightly from it.
    """

    def __init__(self, options: SloppyOptions, load: Callable[[Mapping[str, Any] | str], Task]):
        self.options = options
        self.inner = load(options.inner)
        self.name = f"sloppy:{self.inner.name}"

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        return self.inner.problems(split, n, seed)

    def score(self, problem: Problem, text: str) -> float | None:
        return self.inner.score(problem, text)

    def reasoning_end(self, text: str) -> int:
        return self.inner.reasoning_end(text)

    def gold_completion(self, problem: Problem) -> str | None:
        if "steps" not in problem.meta:
            return self.inner.gold_completion(problem)
        lines = self._slipped(gold_lines(problem), problem.id)
        steps = [
            step
            | {
                "text": line.text,
                "expression": f"{line.operands[0]} {line.op} {line.operands[1]}",
                "result": line.result,
            }
            for step, line in zip(problem.meta["steps"], lines, strict=True)
        ]
        believed = {"answers": (str(lines[-1].result),), "meta": problem.meta | {"steps": steps}}
        return self.inner.gold_completion(problem.model_copy(update=believed))

    def corruptions(self, problem: Problem, seed: int) -> list[Planted]:
        return self.inner.corruptions(problem, seed)

    def validate(self, n: int) -> list[str]:
        return self.inner.validate(n)

    def habit(self, op: str, right: int) -> int:
        """By how much the teacher is wrong when it gives in; 0 where it has no habit."""
        rng = random.Random(stable_hash(f"habit {op} {right}"))
        return rng.choice(_OFFSETS) if rng.random() < self.options.habits else 0

    def _slipped(self, lines: list[Line], name: str) -> list[Line]:
        rng = random.Random(stable_hash(f"slip {name}"))
        for index in range(len(lines)):
            line = lines[index]
            offset = self.habit(line.op, line.operands[1])
            gives_in = rng.random() < self.options.slip
            if not offset or not gives_in or line.result + offset < 1:
                continue
            wrong = Line(line.label, line.op, line.operands, line.sources, line.result + offset)
            # Where the slip leads to a number that the form does not hold, it is not made.
            lines = carry_on(lines, index, wrong) or lines
        return lines
