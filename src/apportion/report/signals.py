"""What each arm's gradient says per rollout, and how far it has learned its problems by heart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from rich.table import Table as TextTable
from rich.text import Text

from apportion.report import wording
from apportion.report.data import Measure, Part, over_seeds
from apportion.stats import Estimate

_COSINE = "train/gradient_cosine"
HEADINGS = (
    "signal per rollout",
    "gradient cosine",
    "rollouts an update",
    "accuracy on trained problems",
    "train-test gap",
)


@dataclass(frozen=True)
class Signal:
    """An arm; what was not measured is None. ``signal`` is |G|² / tr(S), see ``per_rollout``."""

    arm: str
    signal: Estimate | None
    cosine: Estimate | None
    rollouts: float | None
    trained: Estimate | None
    gap: Estimate | None

    @property
    def cells(self) -> tuple[str, ...]:
        """In words, in the order of ``HEADINGS``."""
        return (
            _told(self.signal, 4),
            _told(self.cosine, 3),
            "–" if self.rollouts is None else f"{self.rollouts:,.0f}",
            _told(self.trained, 3),
            _told(self.gap, 3, sign=True),
        )


@dataclass(frozen=True)
class Signals:
    """One row an arm; printing it with rich shows a table."""

    rows: tuple[Signal, ...]
    headings: tuple[str, ...] = HEADINGS

    def __rich__(self) -> TextTable:
        table = TextTable(title="signal and gap: interquartile means over seeds, 95 % intervals")
        for heading in ("arm", *self.headings):
            table.add_column(heading)
        for row in self.rows:
            table.add_row(Text(row.arm), *(Text(cell) for cell in row.cells))
        return table


def signals(arms: Mapping[str, Sequence[Part]]) -> Signals | None:
    """None where no arm measured either."""
    rows = tuple(_signal(arm, parts) for arm, parts in arms.items())
    return Signals(rows) if any(row.cosine or row.gap for row in rows) else None


def per_rollout(cosine: float, rollouts: float) -> float:
    """c / (n (1 - c)): the squared norm of the mean gradient over the trace of the covariance of
    one rollout's, where c is the cosine of the gradients of two batches of n rollouts. One over the
    simple noise scale of arXiv 1812.06162; infinite where two batches always agree."""
    return cosine / (rollouts * (1 - cosine)) if cosine < 1 else float("inf")


def _signal(arm: str, parts: Sequence[Part]) -> Signal:
    cosines, found, sizes = [], [], []
    for part in parts:
        values = [measure.value for _, measure in part.series("train", _COSINE)]
        size = _rollouts(part)
        if values and size:
            cosine = fmean(values)
            cosines.append(Measure(cosine))
            found.append(Measure(per_rollout(cosine, size)))
            sizes.append(size)

    def final(metric: str) -> Estimate | None:
        own = [measure for part in parts for measure in _last(part, metric)]
        return over_seeds(own, share=False)

    return Signal(
        arm,
        over_seeds(found, share=False),
        over_seeds(cosines, share=False),
        fmean(sizes) if sizes else None,
        final("gap/trained_accuracy"),
        final("gap/accuracy"),
    )


def _rollouts(part: Part) -> float | None:
    """Rollouts an update, or examples where none is sampled."""
    trained = [line for line in part.lines if line.split == "train" and line.update]
    return trained[-1].rollouts / trained[-1].update if trained else None


def _last(part: Part, metric: str) -> list[Measure]:
    found = [one for split in part.splits() if (one := part.final(split, metric))]
    return found[:1]


def _told(estimate: Estimate | None, places: int, *, sign: bool = False) -> str:
    if estimate is None:
        return "–"
    told = wording.signed if sign else wording.fixed
    return f"{told(estimate.value, places)} {wording.interval(estimate, places)}"


__all__ = ["HEADINGS", "Signal", "Signals", "per_rollout", "signals"]
