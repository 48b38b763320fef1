"""Counts of right and wrong verdicts by problem, and the rates that they give with intervals.

Steps and dependencies of one problem hang together, so intervals come from resampling problems.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from apportion.review.report import EdgeReport, Rate, share

RESAMPLES = 2000
BINS = 10


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step in one review, truth against verdict. Steps without a truth have no row."""

    cluster: str
    kind: str
    wrong: bool
    called_wrong: bool
    judged: bool
    same_label: bool | None  # None where no label was stated
    confidence: float | None


@dataclass(frozen=True, slots=True)
class EdgeRow:
    """The dependencies of one review: how many it drew, how many there are, how many are both."""

    cluster: str
    hits: int
    drawn: int
    known: int


# Columns of a table of counts, one row for each problem: suffix _P problems, _C counts.
_HITS, _WRONG, _ALARMS, _RIGHT, _EDGE_HITS, _DRAWN, _KNOWN = range(7)
_COUNTS = 7


def count_by_problem(
    steps: Sequence[StepRow], edges: Sequence[EdgeRow], clusters: Sequence[str]
) -> np.ndarray:
    """Counts of each problem, (P, C)."""
    row_of = {name: row for row, name in enumerate(clusters)}
    table_PC = np.zeros((len(clusters), _COUNTS))
    for step in steps:
        if step.judged:
            first = _HITS if step.wrong else _ALARMS
            table_PC[row_of[step.cluster], first] += step.called_wrong
            table_PC[row_of[step.cluster], first + 1] += 1
    for edge in edges:
        table_PC[row_of[edge.cluster], _EDGE_HITS:] += (edge.hits, edge.drawn, edge.known)
    return table_PC


def _ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    """nan where there is nothing to divide by."""
    return np.divide(over, under, out=np.full_like(over, np.nan, dtype=float), where=under > 0)


def _tpr(counts: np.ndarray) -> np.ndarray:
    return _ratio(counts[..., _HITS], counts[..., _WRONG])


def _fpr(counts: np.ndarray) -> np.ndarray:
    return _ratio(counts[..., _ALARMS], counts[..., _RIGHT])


def _youden(counts: np.ndarray) -> np.ndarray:
    return _tpr(counts) - _fpr(counts)


def _precision(counts: np.ndarray) -> np.ndarray:
    return _ratio(counts[..., _EDGE_HITS], counts[..., _DRAWN])


def _recall(counts: np.ndarray) -> np.ndarray:
    return _ratio(counts[..., _EDGE_HITS], counts[..., _KNOWN])


def _f1(counts: np.ndarray) -> np.ndarray:
    """Harmonic mean of precision and recall: 2 hits / (drawn + known)."""
    return _ratio(2 * counts[..., _EDGE_HITS], counts[..., _DRAWN] + counts[..., _KNOWN])


STATISTICS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "tpr": _tpr,
    "fpr": _fpr,
    "youden": _youden,
    "edge_f1": _f1,
}


def _resampled(table_PC: np.ndarray, seed: int) -> np.ndarray:
    """Sums over problems drawn with replacement, (resamples, C)."""
    size = len(table_PC)
    rng = np.random.default_rng(seed)
    return rng.multinomial(size, np.full(size, 1 / size), size=RESAMPLES) @ table_PC


def _interval(values: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval; resamples in which the value is undefined are left out."""
    low, high = np.percentile(values[~np.isnan(values)], (2.5, 97.5))
    return float(low), float(high)


def _rate(
    table_PC: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], n: float, seed: int
) -> Rate | None:
    value = float(statistic(table_PC.sum(axis=0)))
    if np.isnan(value):
        return None
    low, high = _interval(statistic(_resampled(table_PC, seed)))
    return Rate(value=value, low=low, high=high, n=int(n))


def youden_of(table_PC: np.ndarray, seed: int) -> Rate | None:
    """TPR - FPR; None without a wrong or without a right step among those judged."""
    return _rate(table_PC, _youden, table_PC[:, [_WRONG, _RIGHT]].sum(), seed)


def edges_of(table_PC: np.ndarray, seed: int) -> EdgeReport | None:
    """None where no dependency is known."""
    _, drawn, known = table_PC[:, _EDGE_HITS:].sum(axis=0)
    if not known:
        return None
    return EdgeReport(
        precision=_rate(table_PC, _precision, drawn, seed),
        recall=_rate(table_PC, _recall, known, seed),
        f1=_rate(table_PC, _f1, known, seed),
    )


def difference_of(name: str, first_PC: np.ndarray, other_PC: np.ndarray, seed: int) -> Rate | None:
    """A statistic of ``other_PC`` less that of ``first_PC``: the same problems in the same order,
    resampled together. ``n`` counts problems; None where one of the two is undefined."""
    statistic = STATISTICS[name]
    value = float(statistic(other_PC.sum(axis=0)) - statistic(first_PC.sum(axis=0)))
    if np.isnan(value):
        return None
    drawn = _resampled(np.concatenate([first_PC, other_PC], axis=1), seed)
    low, high = _interval(statistic(drawn[:, _COUNTS:]) - statistic(drawn[:, :_COUNTS]))
    return Rate(value=value, low=low, high=high, n=len(first_PC))


def called_wrong(rows: Sequence[StepRow], *, wrong: bool) -> Rate | None:
    """Share called wrong of the truly wrong, or truly right, steps that were judged."""
    judged = [row for row in rows if row.judged and row.wrong == wrong]
    return share(sum(row.called_wrong for row in judged), len(judged))


def same_label(rows: Sequence[StepRow]) -> Rate | None:
    labelled = [row.same_label for row in rows if row.same_label is not None]
    return share(sum(labelled), len(labelled))


def not_judged(rows: Sequence[StepRow]) -> Rate | None:
    return share(sum(not row.judged for row in rows), len(rows))


def calibration_error(rows: Sequence[StepRow]) -> tuple[float | None, int]:
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
