"""The task protocol: where problems come from and what makes an answer right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

from pydantic import BaseModel, ConfigDict

from apportion.errors import UserError, nearest
from apportion.trace import Problem, Step, StepVerdict

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

PlantedKind = Literal[
    "clean",
    "wrong_arithmetic",
    "wrong_operand",
    "irrelevant_step",
    "dropped_step",
    "lucky_answer",
]
PLANTED_KINDS: tuple[PlantedKind, ...] = get_args(PlantedKind)


@dataclass(frozen=True)
class Planted:
    """A completion with one known fault (or none), and what a perfect reviewer says of it.

    ``steps`` is the line cut of the reasoning and ``truth`` is parallel to it. The rules:

    - the step that holds the planted fault: ``correct`` False, label harmful, ``focus`` the span
      of the wrong number (the result or the operand), in characters of ``text``;
    - a later step that takes a wrong value over and computes rightly from it: ``correct`` True,
      label useful. It is what a right solution would do there; only the first fault is to blame;
    - a planted detour (true, used by nothing): ``correct`` True, label irrelevant;
    - a dropped step: its value appears in later steps without having been derived. What they
      write is true, so whether to object is open: their truth abstains (label and ``correct``
      None) and is not to be counted for or against a reviewer;
    - ``depends_on``: the earlier written steps whose values the step really takes.
    """

    kind: PlantedKind
    text: str
    steps: tuple[Step, ...]
    truth: tuple[StepVerdict, ...]


@runtime_checkable
class Task(Protocol):
    """A source of problems with a score.

    ``problems`` is deterministic in its arguments, and its first n items do not depend on n.
    ``score`` is None where the gold answer cannot be read (the outcome is then undecidable);
    a completion without a readable answer is wrong, 0.0. ``corruptions`` is empty where the task
    does not know how to plant errors. ``validate`` needs no model and returns complaints.
    """

    name: str

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]: ...

    def score(self, problem: Problem, text: str) -> float | None: ...

    def reasoning_end(self, text: str) -> int: ...

    def gold_completion(self, problem: Problem) -> str | None: ...

    def corruptions(self, problem: Problem, seed: int) -> list[Planted]: ...

    def validate(self, n: int) -> list[str]: ...


class TaskOptions(BaseModel):
    """Base of the options of each task: unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def check_split(split: str) -> None:
    """Raises UserError unless ``split`` is train, validation or test."""
    if split not in SPLITS:
        raise UserError(
            f"unknown split '{split}'{nearest(split, list(SPLITS))}; use one of {', '.join(SPLITS)}"
        )


def complaints_of(task: Task, n: int, wrong: Callable[[Problem], str | None]) -> list[str]:
    """Check without a model that gold scores 1 and a wrong answer 0.

    ``wrong`` gives a wrong completion of a problem, or None where none can be made. A problem
    whose gold answer cannot be read must score None.
    """
    complaints: list[str] = []
    for problem in task.problems("test", n, seed=0):
        gold, bad = task.gold_completion(problem), wrong(problem)
        if not problem.answers:
            if task.score(problem, "#### 1") is not None:
                complaints.append(f"{problem.id}: no gold answer, yet a completion is scored")
            continue
        if gold is not None and task.score(problem, gold) != 1.0:
            complaints.append(f"{problem.id}: the gold solution scores {task.score(problem, gold)}")
        if bad is not None and task.score(problem, bad) != 0.0:
            complaints.append(f"{problem.id}: a wrong answer scores {task.score(problem, bad)}")
        if task.score(problem, "") != 0.0:
            complaints.append(f"{problem.id}: an empty completion scores above 0")
    return complaints
