"""Measures a reviewer against steps whose verdicts are known, before it is trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from apportion.review.base import Reviewer
from apportion.review.panel import Item, review_now
from apportion.review.report import KindReport, Rate, ReviewerReport, require_trust, share
from apportion.tasks import Planted, Split, Task
from apportion.trace import Problem, Review, Step, StepVerdict, Usage

__all__ = [
    "Case",
    "ReviewerReport",
    "measure_on_labels",
    "measure_on_task",
    "measure_reviewer",
    "require_trust",
]

RESAMPLES = 2000
BINS = 10


@dataclass(frozen=True)
class Case:
    """One chain with the verdicts that a perfect reviewer would give; ``cluster`` groups the
    chains of one problem, which are not independent."""

    item: Item
    kind: str
    cluster: str
    steps: tuple[Step, ...]
    truth: tuple[StepVerdict, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    """One step in one review, truth against verdict. Steps without a truth have no row."""

    cluster: str
    kind: str
    wrong: bool
    called_wrong: bool
    judged: bool
    same_label: bool | None  # None where no label was stated
    confidence: float | None


def measure_reviewer(
    reviewer: Reviewer,
    planted: Sequence[tuple[Problem, Planted]],
    *,
    score: Callable[[Problem, str], float | None] | None = None,
    seed: int = 0,
    max_concurrency: int = 64,
    timeout: float | None = None,
) -> ReviewerReport:
    """Quality on planted errors. ``score`` gives the outcome that the reviewer is told."""
    cases = []
    for index, (problem, plant) in enumerate(planted):
        outcome = score(problem, plant.text) if score is not None else None
        item = Item(problem, plant.text, plant.steps, outcome, f"{problem.id}/{plant.kind}/{index}")
        cases.append(Case(item, plant.kind, problem.id, plant.steps, plant.truth))
    return _measure(reviewer, cases, seed, max_concurrency, timeout)


def measure_on_task(
    reviewer: Reviewer,
    task: Task,
    *,
    problems: int = 50,
    split: Split = "validation",
    seed: int = 0,
    max_concurrency: int = 64,
    timeout: float | None = None,
) -> ReviewerReport | None:
    """Quality on the errors that a task plants; None where it knows how to plant none."""
    planted = [
        (problem, plant)
        for problem in task.problems(split, problems, seed)
        for plant in task.corruptions(problem, seed)
    ]
    if not planted:
        return None
    return measure_reviewer(
        reviewer,
        planted,
        score=task.score,
        seed=seed,
        max_concurrency=max_concurrency,
        timeout=timeout,
    )


def measure_on_labels(
    reviewer: Reviewer,
    items: Sequence[Item],
    labels: Sequence[Review],
    *,
    seed: int = 0,
    max_concurrency: int = 64,
    timeout: float | None = None,
) -> ReviewerReport:
    """Quality against labelled reviews, matched by rollout id; the kind is the labeller's name.

    Failed labels and rollouts without a label are left out.
    """
    by_id = {item.rollout_id: item for item in items}
    cases = [
        Case(
            by_id[label.rollout_id]._replace(steps=label.steps),
            label.reviewer,
            by_id[label.rollout_id].problem.id,
            label.steps,
            label.verdicts,
        )
        for label in labels
        if label.ok and label.rollout_id in by_id
    ]
    return _measure(reviewer, cases, seed, max_concurrency, timeout)


def _measure(
    reviewer: Reviewer,
    cases: Sequence[Case],
    seed: int,
    max_concurrency: int,
    timeout: float | None,
) -> ReviewerReport:
    answers = review_now(
        [reviewer],
        [case.item for case in cases],
        max_concurrency=max_concurrency,
        timeout=timeout,
    )
    reviews = [review for row in answers for review in row]
    rows = [
        row
        for case, row_of_reviews in zip(cases, answers, strict=True)
        for review in row_of_reviews
        if review.ok
        for row in _rows(case, review)
    ]
    errors = Counter(review.error for review in reviews if review.error is not None)
    ece, ece_steps = calibration_error(rows)
    kinds = dict.fromkeys(case.kind for case in cases)
    return ReviewerReport(
        reviewer=reviewer.name,
        reviews=len(reviews),
        tpr=_rate(rows, wrong=True),
        fpr=_rate(rows, wrong=False),
        youden=_youden(rows, seed),
        agreement=_agreement(rows),
        abstained=share(sum(not row.judged for row in rows), len(rows)),
        failed=share(sum(not review.ok for review in reviews), len(reviews)),
        ece=ece,
        ece_steps=ece_steps,
        kinds={
            kind: _kind(
                [row for row in rows if row.kind == kind],
                sum(case.kind == kind for case in cases),
            )
            for kind in kinds
        },
        errors=dict(errors.most_common(5)),
        usage=total_usage([review.usage for review in reviews]),
    )


def _rows(case: Case, review: Review) -> list[_Row]:
    rows = []
    for truth, verdicts in zip(case.truth, _align(case.steps, review), strict=True):
        if truth.abstains:
            continue
        spoken = [verdict for verdict in verdicts if not verdict.abstains]
        wrong = [verdict for verdict in spoken if verdict.wrong]
        decisive = next(iter(wrong or spoken), StepVerdict())
        rows.append(
            _Row(
                cluster=case.cluster,
                kind=case.kind,
                wrong=truth.wrong,
                called_wrong=bool(wrong),
                judged=bool(spoken),
                same_label=None if decisive.label is None else decisive.label == truth.label,
                confidence=decisive.confidence,
            )
        )
    return rows


def _align(steps: Sequence[Step], review: Review) -> list[list[StepVerdict]]:
    """The verdicts on each step. A verdict of another cut goes to the step it overlaps most."""
    if tuple(steps) == review.steps:
        return [[verdict] for verdict in review.verdicts]
    found: list[list[StepVerdict]] = [[] for _ in steps]
    for span, verdict in zip(review.steps, review.verdicts, strict=True):
        overlaps = [min(s.end, span.end) - max(s.start, span.start) for s in steps]
        best = int(np.argmax(overlaps)) if overlaps else 0
        if overlaps and overlaps[best] > 0:
            found[best].append(verdict)
    return found


def _rate(rows: Sequence[_Row], *, wrong: bool) -> Rate | None:
    judged = [row for row in rows if row.judged and row.wrong == wrong]
    return share(sum(row.called_wrong for row in judged), len(judged))


def _agreement(rows: Sequence[_Row]) -> Rate | None:
    labelled = [row.same_label for row in rows if row.same_label is not None]
    return share(sum(labelled), len(labelled))


def _kind(rows: Sequence[_Row], chains: int) -> KindReport:
    return KindReport(
        chains=chains,
        steps=len(rows),
        tpr=_rate(rows, wrong=True),
        fpr=_rate(rows, wrong=False),
        agreement=_agreement(rows),
        abstained=share(sum(not row.judged for row in rows), len(rows)),
    )


def _youden(rows: Sequence[_Row], seed: int) -> Rate | None:
    """TPR - FPR, with a percentile interval from resampling problems (their steps hang together).

    Resamples without a wrong or without a right step are left out.
    """
    judged = [row for row in rows if row.judged]
    clusters = {name: i for i, name in enumerate(dict.fromkeys(row.cluster for row in judged))}
    counts = np.zeros((len(clusters), 4))
    for row in judged:
        offset = 0 if row.wrong else 2
        counts[clusters[row.cluster], offset] += row.called_wrong
        counts[clusters[row.cluster], offset + 1] += 1
    hits, wrongs, alarms, rights = counts.sum(axis=0)
    if wrongs == 0 or rights == 0:
        return None
    rng = np.random.default_rng(seed)
    size = len(clusters)
    weights = rng.multinomial(size, np.full(size, 1 / size), size=RESAMPLES)
    drawn = weights @ counts
    whole = drawn[(drawn[:, 1] > 0) & (drawn[:, 3] > 0)]
    resampled = whole[:, 0] / whole[:, 1] - whole[:, 2] / whole[:, 3]
    low, high = np.percentile(resampled, (2.5, 97.5))
    value = hits / wrongs - alarms / rights
    return Rate(value=float(value), low=float(low), high=float(high), n=len(judged))


def calibration_error(rows: Sequence[_Row]) -> tuple[float | None, int]:
    """Expected calibration error (Naeini 2015) and the number of steps with a confidence: the
    mean over bins, weighted by size, of |share judged rightly - mean confidence|. Judged rightly
    means called wrong exactly if it is."""
    stated = [
        (row.confidence, row.called_wrong == row.wrong)
        for row in rows
        if row.judged and row.confidence is not None
    ]
    if not stated:
        return None, 0
    confidence = np.array([c for c, _ in stated])
    right = np.array([r for _, r in stated], dtype=float)
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    total = 0.0
    for index in range(BINS):
        inside = bins == index
        if inside.any():
            total += inside.sum() * abs(right[inside].mean() - confidence[inside].mean())
    return float(total / len(stated)), len(stated)


def total_usage(usages: Sequence[Usage]) -> Usage:
    """The sum; unpriced as soon as one call is."""
    unpriced = any(usage.usd is None and usage.calls for usage in usages)
    return Usage(
        calls=sum(usage.calls for usage in usages),
        prompt_tokens=sum(usage.prompt_tokens for usage in usages),
        completion_tokens=sum(usage.completion_tokens for usage in usages),
        seconds=sum(usage.seconds for usage in usages),
        usd=None if unpriced else sum(usage.usd or 0.0 for usage in usages),
    )
