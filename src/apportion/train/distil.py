"""A step model beside its teacher: how right each is on planted errors, and what a step costs."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apportion.review.base import Reviewer
from apportion.review.check import measure_on_task
from apportion.review.learned import StepModel, StepModelReviewer
from apportion.review.report import Rate, ReviewerReport
from apportion.tasks import Task
from apportion.trace import Problem, Review, Step


@dataclass(frozen=True)
class Measured:
    """One reviewer on the planted errors of a task. ``seconds`` (waiting for replies included),
    ``tokens`` and ``usd`` are what a step cost; ``usd`` None where no price is known."""

    report: ReviewerReport
    threshold: float | None
    seconds: float
    tokens: float
    usd: float | None

    def line(self, name: str) -> str:
        def shown(rate: Rate | None) -> str:
            return "-" if rate is None else str(rate)

        at = "" if self.threshold is None else f" at threshold {self.threshold:.3f}"
        money = "unpriced" if self.usd is None else f"${self.usd:.2g}"
        return (
            f"{name}{at}: TPR {shown(self.report.tpr)}, FPR {shown(self.report.fpr)}, "
            f"J {shown(self.report.youden)}; a step costs {self.seconds * 1e6:,.0f} µs, "
            f"{self.tokens:,.0f} tokens, {money}"
        )

    def as_json(self) -> dict[str, object]:
        return {
            "threshold": self.threshold,
            "tpr": _rate(self.report.tpr),
            "fpr": _rate(self.report.fpr),
            "youden": _rate(self.report.youden),
            "seconds_per_step": self.seconds,
            "tokens_per_step": self.tokens,
            "usd_per_step": self.usd,
        }


def _rate(rate: Rate | None) -> dict[str, float] | None:
    return None if rate is None else rate.model_dump()


class _Timed:
    """A reviewer whose time inside ``review`` is summed, also over concurrent calls."""

    def __init__(self, inner: Reviewer) -> None:
        self.inner, self.name, self.critiques = inner, inner.name, inner.critiques
        self.max_concurrency: int = getattr(inner, "max_concurrency", 64)
        self.seconds, self.steps = 0.0, 0

    async def review(
        self,
        problem: Problem,
        rollout_text: str,
        steps: Sequence[Step],
        outcome: float | None,
        *,
        rollout_id: str = "",
        critique: int = 0,
    ) -> Review:
        started = time.perf_counter()
        review = await self.inner.review(
            problem, rollout_text, steps, outcome, rollout_id=rollout_id, critique=critique
        )
        self.seconds += time.perf_counter() - started
        self.steps += len(steps)
        return review

    async def aclose(self) -> None:
        close = getattr(self.inner, "aclose", None)
        if close is not None:
            await close()


def measure(reviewer: Reviewer, task: Task, *, problems: int = 50) -> Measured | None:
    """Quality and cost on the planted errors of the validation split; None where the task knows
    how to plant none."""
    timed = _Timed(reviewer)
    report = measure_on_task(timed, task, problems=problems)
    if report is None:
        return None
    steps = max(timed.steps, 1)
    tokens = report.usage.prompt_tokens + report.usage.completion_tokens
    usd = None if report.usage.usd is None else report.usage.usd / steps
    threshold = getattr(reviewer, "threshold", None)
    return Measured(report, threshold, timed.seconds / steps, tokens / steps, usd)


def threshold_for(
    model: StepModel, task: Task, false_positive_rate: float, *, problems: int = 100
) -> float:
    """The lowest threshold at which the model calls at most this share of right steps wrong, on
    other validation problems than :func:`measure` takes: new to the model, and no choice by what
    is then measured."""
    right = []
    for problem in task.problems("validation", problems, 1):
        for planted in task.corruptions(problem, 1):
            p_S3 = model.probabilities(problem.prompt, planted.text, planted.steps)
            right += [
                p for p, truth in zip(p_S3[:, 2], planted.truth, strict=True)
                if not truth.abstains and not truth.wrong
            ]  # fmt: skip
    if not right:
        return model.facts.threshold
    ordered = np.sort(np.array(right))[::-1]
    allowed = math.floor(false_positive_rate * len(ordered) + 1e-9)
    if allowed >= len(ordered):
        return 0.0
    return min(1.0, float(np.nextafter(np.float64(ordered[allowed]), 2.0)))


def beside_teacher(
    model: StepModel, task: Task, teacher: Reviewer | None, *, problems: int = 50
) -> dict[str, Measured]:
    """``step_model`` at its own threshold and, with a teacher, ``teacher`` and ``equal_fpr``: the
    model at the threshold that gives it the teacher's false positive rate. Empty where the task
    plants no errors."""
    own = measure(StepModelReviewer(model), task, problems=problems)
    if own is None:
        return {}
    found = {"step_model": own}
    other = measure(teacher, task, problems=problems) if teacher is not None else None
    if other is not None:
        found["teacher"] = other
        if other.report.fpr is not None:
            threshold = threshold_for(model, task, other.report.fpr.value)
            equal = measure(StepModelReviewer(model, threshold=threshold), task, problems=problems)
            assert equal is not None
            found["equal_fpr"] = equal
    return found
