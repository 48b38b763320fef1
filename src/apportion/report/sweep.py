"""How a quantity depends on another over several arms, with the seeds as replicates.

Each seed gives a line of its own, ``z_s(x) = a_s + b_s x`` by least squares over the arms, so
that what the arms of a seed share (its problems, its initial state) does not count as evidence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from apportion.stats import Estimate, t_interval, t_quantile


@dataclass(frozen=True)
class Relation:
    """``slope`` and ``spearman`` are means over seeds with t-intervals. ``crossing`` is where the
    mean line is zero; its bounds are infinite where the slope may be zero, and it is None where
    the line is level."""

    slope: Estimate
    spearman: Estimate | None
    crossing: Estimate | None


def relation(x: Sequence[float], by_seed: Mapping[int, Sequence[float]]) -> Relation | None:
    """``by_seed`` maps a seed to one value for each ``x``; None without a seed."""
    if not by_seed:
        return None
    at = np.asarray(x, dtype=float)
    lines = np.array([_line(at, np.asarray(y, dtype=float)) for y in by_seed.values()])
    slopes, levels = lines[:, 0], lines[:, 1]
    ranks = [r for y in by_seed.values() if (r := spearman(at, y)) is not None]
    slope = t_interval(slopes.tolist())
    assert slope is not None
    return Relation(slope, t_interval(ranks), crossing(slopes, levels))


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and level (the value at 0) by least squares."""
    away = x - x.mean()
    # Exactly 0 for a level line, where rounding would leave 1e-17.
    slope = 0.0 if np.ptp(y) == 0 else float(away @ (y - y.mean()) / (away @ away))
    return slope, float(y.mean() - slope * x.mean())


def spearman(x: Sequence[float] | np.ndarray, y: Sequence[float]) -> float | None:
    """Rank correlation, ties at their mean rank; None where one side does not vary."""
    first, second = _ranks(x), _ranks(y)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: Sequence[float] | np.ndarray) -> np.ndarray:
    given = np.asarray(values, dtype=float)
    below = (given[None, :] < given[:, None]).sum(axis=1)
    equal = (given[None, :] == given[:, None]).sum(axis=1)
    return below + (equal + 1) / 2


def crossing(slopes: np.ndarray, levels: np.ndarray) -> Estimate | None:
    """The x at which the mean of the lines ``levels + slopes * x`` is zero.

    The interval holds every x at which a t-test over the seeds cannot tell the lines from zero
    (Fieller 1954): the x with ``mean(z)^2 <= t^2 var(z) / n``, which is a quadratic in x. Where
    that is no bounded interval, as it must be when the slope may be zero, the bounds are infinite.
    """
    n, slope, level = len(slopes), float(slopes.mean()), float(levels.mean())
    if slope == 0:
        return None
    value = -level / slope
    if n < 2:
        return Estimate(value, n)
    q = t_quantile(n - 1) ** 2 / n
    covariance = np.cov(np.stack([slopes, levels]), ddof=1)
    square = slope**2 - q * covariance[0, 0]
    half = slope * level - q * covariance[0, 1]
    rest = level**2 - q * covariance[1, 1]
    if square <= 0:
        return Estimate(value, n, -math.inf, math.inf)
    root = math.sqrt(max(0.0, half * half - square * rest)) / square
    return Estimate(value, n, -half / square - root, -half / square + root)
