"""Arms at equal cost: held-out accuracy per example, per generated token and per FLOP.

The rule that names a winner is written down in docs/bet.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table as TextTable
from rich.text import Text

from apportion.reach import Curve
from apportion.report import wording
from apportion.report.data import Measure, Part, read_measure
from apportion.stats import Estimate, interquartile_mean, paired_differences, t_interval

AXES = {
    "cost/examples": "examples",
    "cost/generated_tokens": "generated tokens",
    "cost/flops": "FLOPs",
}
_ACCURACY = "eval/accuracy"


@dataclass(frozen=True)
class Standing:
    """An arm on one axis. ``at_common`` and ``area`` are interquartile means over seeds of the
    accuracy at the common cost and of the mean accuracy up to it; ``final`` and ``spent`` are the
    same of where the arm itself ended."""

    arm: str
    seeds: int
    at_common: float
    area: float
    final: float
    spent: float


@dataclass(frozen=True)
class Axis:
    """Arms on one axis, best first. ``common`` is the largest cost that all of them reach, and
    ``margin`` the winner's lead over the runner-up, paired by seed. ``unpaid`` spent nothing."""

    name: str
    common: float
    standings: tuple[Standing, ...]
    unpaid: tuple[str, ...] = ()
    margin: Estimate | None = None

    @property
    def winner(self) -> str | None:
        """The best arm, where its interval against the runner-up is above 0; else None."""
        clear = self.margin is not None and self.margin.low is not None and self.margin.low > 0
        return self.standings[0].arm if clear else None

    @property
    def verdict(self) -> str:
        """The verdict in one sentence."""
        if len(self.standings) < 2:
            return f"Per {self.name}: undecided, fewer than two arms spent any."
        first, second = self.standings[:2]
        if self.margin is None:
            return f"Per {self.name}: undecided, {first.arm} and {second.arm} share no seed."
        lead = wording.signed(self.margin.value, 3)
        if self.margin.low is None:
            return f"Per {self.name}: undecided, {first.arm} leads by {lead} in a single seed."
        shown = f"{lead} {wording.interval(self.margin, 3)} over {self.margin.n} seeds"
        if self.winner:
            return f"Per {self.name}: {first.arm} wins, {shown} ahead of {second.arm}."
        return f"Per {self.name}: undecided, {first.arm} leads {second.arm} by {shown}."


@dataclass(frozen=True)
class Bet:
    """The three axes; printing it with rich shows a table and a verdict for each."""

    axes: tuple[Axis, ...]
    split: str

    def __rich__(self) -> RenderableType:
        parts: list[RenderableType] = []
        for axis in self.axes:
            if axis.standings:
                parts += [_table(axis, self.split)]
            parts.append(Text(axis.verdict))
            if axis.unpaid:
                parts.append(Text(f"Without any {axis.name}: {', '.join(axis.unpaid)}."))
        return Group(*parts)


def bet(arms: Mapping[str, Sequence[Part]], split: str = "validation") -> Bet | None:
    """The standing of each arm on each axis, from its evaluations on ``split`` in training.

    None where fewer than two arms recorded what they cost.
    """
    axes = [_axis(metric, arms, split) for metric in AXES]
    found = tuple(axis for axis in axes if len(axis.standings) + len(axis.unpaid) > 1)
    return Bet(found, split) if found else None


def cost_curve(part: Part, metric: str, split: str) -> list[tuple[float, float]]:
    """(cost, accuracy) of each evaluation, by cost; at one cost the last evaluation counts."""
    return [(cost, accuracy.value) for cost, accuracy in costs(part, metric, split)]


def costs(part: Part, metric: str, split: str) -> list[tuple[float, Measure]]:
    """``cost_curve`` with what is known of each accuracy."""
    found: dict[float, Measure] = {}
    for line in part.lines:
        cost, accuracy = (read_measure(line.metrics.get(name)) for name in (metric, _ACCURACY))
        if line.split == split and cost and accuracy:
            found[cost.value] = accuracy
    return sorted(found.items())


def accuracy_at(curve: Curve, cost: float) -> float:
    """Linear between evaluations, and flat before the first: cost paid before it taught nothing."""
    return float(np.interp(cost, [x for x, _ in curve], [y for _, y in curve]))


def mean_until(curve: Curve, cost: float) -> float:
    """Area under the curve from cost 0 up to ``cost``, over its width."""
    inner = [x for x, _ in curve if 0 < x < cost]
    points = [(x, accuracy_at(curve, x)) for x in (0.0, *inner, cost)]
    area = sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in pairwise(points))
    return area / cost


def _axis(metric: str, arms: Mapping[str, Sequence[Part]], split: str) -> Axis:
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {}
    unpaid = []
    for arm, parts in arms.items():
        own = {str(part.seed): cost_curve(part, metric, split) for part in parts}
        own = {seed: curve for seed, curve in own.items() if curve}
        if any(curve[-1][0] > 0 for curve in own.values()):
            curves[arm] = {seed: curve for seed, curve in own.items() if curve[-1][0] > 0}
        elif own:
            unpaid.append(arm)
    if not curves:
        return Axis(AXES[metric], 0.0, (), tuple(unpaid))
    common = min(curve[-1][0] for own in curves.values() for curve in own.values())
    standings = [_standing(arm, [*own.values()], common) for arm, own in curves.items()]
    standings.sort(key=lambda standing: -standing.at_common)
    return Axis(AXES[metric], common, tuple(standings), tuple(unpaid), _margin(standings, curves))


def _standing(arm: str, curves: Sequence[Curve], common: float) -> Standing:
    def middle(values: Sequence[float]) -> float:
        return float(interquartile_mean(np.array(values)))

    return Standing(
        arm,
        len(curves),
        middle([accuracy_at(curve, common) for curve in curves]),
        middle([mean_until(curve, common) for curve in curves]),
        middle([curve[-1][1] for curve in curves]),
        middle([curve[-1][0] for curve in curves]),
    )  # fmt: skip


def _margin(
    standings: Sequence[Standing], curves: Mapping[str, Mapping[str, Curve]]
) -> Estimate | None:
    if len(standings) < 2:
        return None
    common = min(curve[-1][0] for own in curves.values() for curve in own.values())
    first, second = (
        {seed: accuracy_at(curve, common) for seed, curve in curves[standing.arm].items()}
        for standing in standings[:2]
    )
    return t_interval(paired_differences(second, first))


def _table(axis: Axis, split: str) -> TextTable:
    title = f"{split} accuracy at {axis.common:,.4g} {axis.name} (interquartile mean over seeds)"
    table = TextTable(title=title)
    for heading in ("arm", "seeds", "accuracy there", "mean until there", "at its end", "spent"):
        table.add_column(heading)
    for s in axis.standings:
        shares = [wording.fixed(value, 3) for value in (s.at_common, s.area, s.final)]
        table.add_row(Text(s.arm), str(s.seeds), *shares, f"{s.spent:,.4g}")
    return table


__all__ = [
    "AXES",
    "Axis",
    "Bet",
    "Standing",
    "accuracy_at",
    "bet",
    "cost_curve",
    "costs",
    "mean_until",
]
