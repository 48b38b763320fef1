"""The values that a problem's solution goes through on its way to the answer."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from apportion.tasks.numbers import parse_number
from apportion.trace import Problem


def step_values(problem: Problem) -> tuple[Fraction, ...]:
    """Results of the gold steps in order, the last of them the answer; empty where the task does
    not know them."""
    found = []
    for step in problem.meta.get("steps") or ():
        number = parse_number(str(step.get("result"))) if isinstance(step, dict) else None
        if number is None:
            return ()
        found.append(number.value)
    return tuple(found)


def intermediate_values(problem: Problem) -> tuple[Fraction, ...]:
    """``step_values`` without the answer."""
    return step_values(problem)[:-1]


def step_labels(problem: Problem) -> tuple[str, ...]:
    """What the gold steps arrive at in order, as text, the last of them the answer: numbers, or
    names where the task knows those (``meta["values"]``); empty where it knows neither."""
    numbers = step_values(problem)
    return tuple(map(str, numbers or problem.meta.get("values") or ()))


def in_order(wanted: Sequence[Fraction], given: Sequence[Fraction]) -> list[bool]:
    """For each wanted value whether it is among the given ones, behind those found before it."""
    found, start = [], 0
    for value in wanted:
        place = next((i for i in range(start, len(given)) if given[i] == value), None)
        found.append(place is not None)
        start = start if place is None else place + 1
    return found
