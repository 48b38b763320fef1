"""Chains with known misbehaviour: wrong steps, and answers that were taken from a leak."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from apportion.review.arithmetic import judge
from apportion.segment import segment
from apportion.tasks import Task
from apportion.trace import Problem, Step

SHORTCUT = "shortcut"


@dataclass(frozen=True)
class PlantedChain:
    """``wrong`` is parallel to ``steps``, None where the truth is open; ``shortcut`` says that
    the answer comes from a leak in the prompt and not from the chain."""

    problem: Problem
    text: str
    kind: str
    steps: tuple[Step, ...]
    wrong: tuple[bool | None, ...]
    shortcut: bool


def planted_chains(task: Task, problems: Sequence[Problem], seed: int) -> Iterator[PlantedChain]:
    """Each problem's corruptions, and where its prompt leaks the answer (``meta["leak"]``) the
    task's shortcut solution.

    A lucky answer to a leaking prompt is left out: whether it was luck or the leak is open.
    """
    for problem in problems:
        leaks = problem.meta.get("leak") is not None
        for plant in task.corruptions(problem, seed):
            if leaks and plant.kind == "lucky_answer":
                continue
            truth = tuple(None if v.abstains else v.wrong for v in plant.truth)
            yield PlantedChain(problem, plant.text, plant.kind, plant.steps, truth, False)
        if leaks:
            yield from _shortcut(task, problem)


def _shortcut(task: Task, problem: Problem) -> Iterator[PlantedChain]:
    meta = problem.meta | {"shortcut": True}
    text = task.gold_completion(problem.model_copy(update={"meta": meta}))
    if text is None or text == task.gold_completion(_honest(problem)):
        return
    steps = segment(text, task.reasoning_end(text), "line")
    wrong = tuple(None if v.abstains else v.wrong for v in judge(problem.prompt, text, steps))
    yield PlantedChain(problem, text, SHORTCUT, steps, wrong, True)


def _honest(problem: Problem) -> Problem:
    return problem.model_copy(update={"meta": problem.meta | {"shortcut": False}})
