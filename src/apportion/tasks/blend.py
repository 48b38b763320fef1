"""Several tasks in one: each problem comes from one of them. A policy that learns from their gold
solutions mixes the habits that these show."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field

from apportion.tasks.base import Planted, Split, Task, TaskOptions
from apportion.tasks.stable import stable_hash
from apportion.trace import Problem


class BlendOptions(TaskOptions):
    """``of`` are the tasks, each drawn with the same chance."""

    of: tuple[str | dict[str, Any], ...] = Field(min_length=2)


class Blend:
    """The task ``blend``; options in :class:`BlendOptions`.

    ``meta["member"]`` is the place in ``of`` of the task that a problem is from and scored by.
    """

    def __init__(self, options: BlendOptions, load: Callable[[Mapping[str, Any] | str], Task]):
        self.options = options
        self.members = tuple(load(spec) for spec in options.of)
        self.name = "blend:" + "+".join(member.name for member in self.members)

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        drawn = [member.problems(split, n, seed) for member in self.members]
        return [
            self._from(problems, f"blend {seed} {split} {index}")
            for index, problems in enumerate(zip(*drawn, strict=False))
        ]

    def score(self, problem: Problem, text: str) -> float | None:
        return self._of(problem).score(problem, text)

    def reasoning_end(self, text: str) -> int:
        """As the first of the tasks has it: they have to agree on where an answer stands."""
        return self.members[0].reasoning_end(text)

    def gold_completion(self, problem: Problem) -> str | None:
        return self._of(problem).gold_completion(problem)

    def corruptions(self, problem: Problem, seed: int) -> list[Planted]:
        return self._of(problem).corruptions(problem, seed)

    def validate(self, n: int) -> list[str]:
        return [complaint for member in self.members for complaint in member.validate(n)]

    def _from(self, problems: tuple[Problem, ...], key: str) -> Problem:
        place = random.Random(stable_hash(key)).randrange(len(problems))
        problem = problems[place]
        name = f"{problem.id}-{place}"
        return problem.model_copy(update={"id": name, "meta": problem.meta | {"member": place}})

    def _of(self, problem: Problem) -> Task:
        return self.members[int(problem.meta.get("member", 0))]
