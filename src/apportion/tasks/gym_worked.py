"""Worked solutions for data sets of reasoning-gym that give only an answer.

Each has the form of the task ``words``: steps with text, expression, result and ``uses``, so that
the exact reviewer and the planted errors work on them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Steps = list[dict[str, Any]]


def worked_solution(name: str, metadata: Mapping[str, Any]) -> Steps | None:
    """The steps to the answer of one entry; None for a data set that is not known here."""
    work = _WORKED.get(name)
    return work(metadata) if work else None


def _step(label: str, left: int, op: str, right: int, uses: list[int]) -> dict[str, Any]:
    value = {"+": left + right, "-": left - right, "*": left * right}[op]
    expression = f"{left} {op} {right}"
    return {
        "text": f"{label} {expression} = {value}",
        "expression": expression,
        "result": value,
        "uses": uses,
    }


def _chain_sum(metadata: Mapping[str, Any]) -> Steps:
    """From left to right."""
    first, *rest = re.findall(r"[-+]?\d+", metadata["expression"].replace(" ", ""))
    value, steps = int(first), []
    for term in rest:
        uses = [len(steps) - 1] if steps else []
        steps.append(_step("so", value, term[0] if term[0] in "+-" else "+",
                           int(term.lstrip("+-")), uses))  # fmt: skip
        value = steps[-1]["result"]
    return steps


def _leg_counting(metadata: Mapping[str, Any]) -> Steps:
    """The legs of each animal, each added to those so far."""
    from reasoning_gym.arithmetic.leg_counting import ANIMALS

    steps: Steps = []
    total: tuple[int, int] | None = None  # value and step so far
    for animal, count in metadata["animals"].items():
        steps.append(_step(f"{animal} legs", count, "*", ANIMALS[animal], []))
        legs = len(steps) - 1
        if total is None:
            total = steps[legs]["result"], legs
            continue
        steps.append(_step("together", total[0], "+", steps[legs]["result"], [total[1], legs]))
        total = steps[-1]["result"], len(steps) - 1
    return steps


_WORKED: dict[str, Callable[[Mapping[str, Any]], Steps]] = {
    "chain_sum": _chain_sum,
    "leg_counting": _leg_counting,
}
