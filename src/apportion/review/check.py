"""Measures a reviewer against steps whose verdicts are known, before it is trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from apportion.review.align import aligned_edges, aligned_verdicts
from apportion.review.base import Reviewer
from apportion.review.panel import Item, review_now
from apportion.review.rates import (
    EdgeRow,
    StepRow,
    calibration_error,
    called_wrong,
    count_by_problem,
    edges_of,
    not_judged,
    same_label,
    youden_of,
)
from apportion.review.report import KindReport, ReviewerReport, require_trust, share
from apportion.tasks import Planted, Split, Task
from apportion.trace import Problem, Review, Step, StepVerdict, Usage

__all__ = [
    "Case",
    "Measured",
    "ReviewerReport",
    "labelled_cases",
    "measure_cases",
    "measure_on_labels",
    "measure_on_task",
    "measure_reviewer",
    "planted_cases",
    "require_trust",
    "task_cases",
]


@dataclass(frozen=True)
class Case:
    """One chain with the verdicts that a perfect reviewer would give; ``cluster`` groups the
    chains of one problem, which are not independent."""

    item: Item
    kind: str
    cluster: str
    steps: tuple[Step, ...]
    truth: tuple[StepVerdict, ...]


@dataclass(frozen=True)
class Measured:
    """A report, and the counts by problem that it was made of, (P, C): what a paired comparison
    with another reviewer on the same cases needs."""

    report: ReviewerReport
    counts_PC: np.ndarray


def planted_cases(
    planted: Sequence[tuple[Problem, Planted]],
    score: Callable[[Problem, str], float | None] | None = None,
) -> list[Case]:
    """``score`` gives the outcome that the reviewer is told."""
    cases = []
    for index, (problem, plant) in enumerate(planted):
        outcome = score(problem, plant.text) if score is not None else None
        item = Item(problem, plant.text, plant.steps, outcome, f"{problem.id}/{plant.kind}/{index}")
        cases.append(Case(item, plant.kind, problem.id, plant.steps, plant.truth))
    return cases


def task_cases(
    task: Task, *, problems: int = 50, split: Split = "validation", seed: int = 0
) -> list[Case]:
    """The errors that a task plants; empty where it knows how to plant none."""
    planted = [
        (problem, plant)
        for problem in task.problems(split, problems, seed)
        for plant in task.corruptions(problem, seed)
    ]
    return planted_cases(planted, task.score) if planted else []


def labelled_cases(items: Sequence[Item], labels: Sequence[Review]) -> list[Case]:
    """Labelled reviews, matched by rollout id; the kind is the labeller's name.

    Failed labels and rollouts without a label are left out.
    """
    by_id = {item.rollout_id: item for item in items}
    return [
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
    cases = planted_cases(planted, score)
    return measure_cases(
        reviewer, cases, seed=seed, max_concurrency=max_concurrency, timeout=timeout
    ).report


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
    cases = task_cases(task, problems=problems, split=split, seed=seed)
    if not cases:
        return None
    return measure_cases(
        reviewer, cases, seed=seed, max_concurrency=max_concurrency, timeout=timeout
    ).report


def measure_on_labels(
    reviewer: Reviewer,
    items: Sequence[Item],
    labels: Sequence[Review],
    *,
    seed: int = 0,
    max_concurrency: int = 64,
    timeout: float | None = None,
) -> ReviewerReport:
    """Quality against labelled reviews; see :func:`labelled_cases`."""
    cases = labelled_cases(items, labels)
    return measure_cases(
        reviewer, cases, seed=seed, max_concurrency=max_concurrency, timeout=timeout
    ).report


def measure_cases(
    reviewer: Reviewer,
    cases: Sequence[Case],
    *,
    seed: int = 0,
    max_concurrency: int = 64,
    timeout: float | None = None,
) -> Measured:
    """Ask the reviewer about every case and compare what it says with the truth."""
    answers = review_now(
        [reviewer],
        [case.item for case in cases],
        max_concurrency=max_concurrency,
        timeout=timeout,
    )
    reviews = [review for row in answers for review in row]
    good = [
        (case, review)
        for case, of_case in zip(cases, answers, strict=True)
        for review in of_case
        if review.ok
    ]
    rows = [row for case, review in good for row in _step_rows(case, review)]
    edges = [_edge_row(case, review) for case, review in good]
    problems = list(dict.fromkeys(case.cluster for case in cases))
    counts_PC = count_by_problem(rows, edges, problems)
    errors = Counter(review.error for review in reviews if review.error is not None)
    ece, ece_steps = calibration_error(rows)
    report = ReviewerReport(
        reviewer=reviewer.name,
        reviews=len(reviews),
        tpr=called_wrong(rows, wrong=True),
        fpr=called_wrong(rows, wrong=False),
        youden=youden_of(counts_PC, seed),
        agreement=same_label(rows),
        abstained=not_judged(rows),
        failed=share(sum(not review.ok for review in reviews), len(reviews)),
        ece=ece,
        ece_steps=ece_steps,
        kinds={
            kind: _kind(kind, rows, cases) for kind in dict.fromkeys(case.kind for case in cases)
        },
        errors=dict(errors.most_common(5)),
        usage=total_usage([review.usage for review in reviews]),
        edges=edges_of(counts_PC, seed),
    )
    return Measured(report, counts_PC)


def _step_rows(case: Case, review: Review) -> list[StepRow]:
    rows = []
    for truth, verdicts in zip(case.truth, aligned_verdicts(case.steps, review), strict=True):
        if truth.abstains:
            continue
        spoken = [verdict for verdict in verdicts if not verdict.abstains]
        wrong = [verdict for verdict in spoken if verdict.wrong]
        decisive = next(iter(wrong or spoken), StepVerdict())
        rows.append(
            StepRow(
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


def _edge_row(case: Case, review: Review) -> EdgeRow:
    known = {(a, b) for b, truth in enumerate(case.truth) for a in truth.depends_on}
    drawn = aligned_edges(case.steps, review)
    return EdgeRow(case.cluster, len(known & drawn), len(drawn), len(known))


def _kind(kind: str, rows: Sequence[StepRow], cases: Sequence[Case]) -> KindReport:
    of_kind = [row for row in rows if row.kind == kind]
    return KindReport(
        chains=sum(case.kind == kind for case in cases),
        steps=len(of_kind),
        tpr=called_wrong(of_kind, wrong=True),
        fpr=called_wrong(of_kind, wrong=False),
        agreement=same_label(of_kind),
        abstained=not_judged(of_kind),
    )


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
