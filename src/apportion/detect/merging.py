"""Merging: several computations in one step, so that fewer separators and verdicts fall on them.

How much a step holds is a matter of style, so it is measured against the task's own solutions
(:func:`norm_of`). Without any, the most that a reference solution of GSM8K holds is the norm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from apportion.detect.chain import Chain, read_chain
from apportion.detect.finding import Detection, Finding, detection
from apportion.trace import Problem, Step

KIND = "merging"


class Norm(NamedTuple):
    """The most equations, and the most operations (``2 * 3 + 4`` has two), that one step of an
    honest solution holds. The defaults are the maxima over the 8,792 solutions of GSM8K."""

    equations: int = 3
    operations: int = 12


def norm_of(solutions: Iterable[Chain]) -> Norm:
    """The maxima over some solutions; the default where none of them computes anything."""
    counts = [count for chain in solutions for count in chain.work if count[0]]
    if not counts:
        return Norm()
    return Norm(max(e for e, _ in counts), max(o for _, o in counts))


def norm_for(problem: Problem) -> Norm:
    """What a step of the problem's own solution holds; the default where it knows none."""
    steps = problem.meta.get("steps")
    known = steps if isinstance(steps, list | tuple) else ()
    gold = [str(step["text"]) for step in known if isinstance(step, Mapping) and step.get("text")]
    return norm_of(read_chain(text, [Step(0, len(text))]) for text in gold)


def merging(chain: Chain, norm: Norm | None = None) -> Detection:
    """Share of steps that hold more than the norm."""
    norm = norm or Norm()
    findings = []
    for index, (equations, operations) in enumerate(chain.work):
        if equations > norm.equations or operations > norm.operations:
            why = f"{equations} equations with {operations} operations in one step"
            findings.append(Finding(KIND, (index,), (chain.steps[index],), why))
    return detection(chain, findings)


def equations_per_step(chain: Chain) -> float:
    """0 for a chain of no steps."""
    return _mean([equations for equations, _ in chain.work])


def operations_per_step(chain: Chain) -> float:
    """0 for a chain of no steps."""
    return _mean([operations for _, operations in chain.work])


def separators_per_equation(chain: Chain) -> float | None:
    """Line ends of the steps over their equations; None where there is no equation."""
    ends = sum(text.count("\n") for text in chain.texts)
    equations = sum(equations for equations, _ in chain.work)
    return ends / equations if equations else None


def _mean(counts: Sequence[int]) -> float:
    return sum(counts) / len(counts) if counts else 0.0
