"""Learning curves: how many rollouts a level takes, and an arm's beside a baseline's."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np

from apportion.stats import SEED, Estimate, interquartile_mean, mean, t_interval

K = TypeVar("K", bound=Hashable)
Curve = Sequence[tuple[float, float]]


def rollouts_to_reach(curve: Curve, level: float) -> float | None:
    """First x at which a curve of (rollouts, value) points reaches ``level``; None if never.

    Linear between points. A curve that starts at or above the level reaches it at its first x.
    """
    if not curve:
        return None
    if curve[0][1] >= level:
        return float(curve[0][0])
    for (x0, y0), (x1, y1) in pairwise(curve):
        if y1 >= level:
            return float(x0 + (x1 - x0) * (level - y0) / (y1 - y0))
    return None


def common_grid(curves: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray]:
    """All curves on one grid of x: shapes (X,) and (curves, X).

    The grid is every x of any curve within the range that all of them cover; values between a
    curve's own points are interpolated linearly. Empty where the ranges do not overlap.
    """
    curves = [c for c in curves if len(c)]
    if not curves:
        return np.zeros(0), np.zeros((0, 0))
    low = max(c[0][0] for c in curves)
    high = min(c[-1][0] for c in curves)
    xs = np.array(sorted({x for c in curves for x, _ in c if low <= x <= high}), dtype=float)
    rows = [np.interp(xs, [x for x, _ in c], [y for _, y in c]) for c in curves]
    return xs, np.array(rows).reshape(len(curves), len(xs))


def reach_ratio(
    curves: Mapping[object, Curve],
    baseline: Mapping[object, Curve],
    *,
    resamples: int = 1000,
    seed: int = SEED,
) -> Estimate | None:
    """Rollouts that an arm needs to reach the baseline's final level, over those of the baseline.

    Both maps go from seed to curve. The level is the end of the baseline's interquartile mean
    curve over the seeds that both have; the interval resamples those seeds in pairs. ``inf``
    (value or bound) means that the arm's curve never reached the level. None without common
    seeds, where the curves do not overlap, or where the baseline starts at its final level.
    """
    paired = _paired(curves, baseline)
    if paired is None:
        return None
    grid, arm, base = paired
    n = len(arm)
    value = _ratio(grid, interquartile_mean(arm, 0), interquartile_mean(base, 0))
    if value is None:
        return None
    if n < 2:
        return Estimate(value, n)
    rng = np.random.default_rng(seed)
    drawn = []
    for pick in rng.integers(0, n, (resamples, n)):
        one = _ratio(grid, interquartile_mean(arm[pick], 0), interquartile_mean(base[pick], 0))
        if one is not None:
            drawn.append(one)
    # Percentiles by sorting: interpolation between a number and infinity would give nan.
    drawn.sort()
    last = len(drawn) - 1
    return Estimate(value, n, drawn[math.floor(0.025 * last)], drawn[math.ceil(0.975 * last)])


def reach_ratio_t(curves: Mapping[K, Curve], baseline: Mapping[K, Curve]) -> Estimate | None:
    """As :func:`reach_ratio`, of mean curves, with an interval made for few seeds.

    The interval is Student's t on the jackknife pseudo-values of the log ratio, each seed (with
    its pair) left out once (Tukey 1958). A curve that never reached the level counts as reaching
    it at its end, which makes the lower bound honest; the upper bound is then ``inf``.
    """
    paired = _paired(curves, baseline)
    if paired is None:
        return None
    grid, arm, base = paired
    n = len(arm)
    whole = _ratio(grid, mean(arm, 0), mean(base, 0))
    if whole is None or n < 2:
        return None if whole is None else Estimate(whole, n)
    every = np.arange(n)
    left_out = [every[every != i] for i in range(n)]
    ratios = [whole] + [_ratio(grid, mean(arm[k], 0), mean(base[k], 0)) for k in left_out]
    longest = [grid[-1] / _needed(grid, mean(base[k], 0)) for k in (every, *left_out)]
    if any(ratio is None for ratio in ratios):
        return Estimate(whole, n)
    logs = [math.log(min(r, end)) for r, end in zip(ratios, longest, strict=True) if r is not None]
    interval = t_interval([n * logs[0] - (n - 1) * log for log in logs[1:]])
    assert interval is not None and interval.low is not None and interval.high is not None
    # The pseudo-values give the spread; the middle is the estimate itself.
    half = (interval.high - interval.low) / 2
    never = any(ratio is not None and math.isinf(ratio) for ratio in ratios)
    high = math.inf if never else math.exp(logs[0] + half)
    return Estimate(whole, n, math.exp(logs[0] - half), high)


def _paired(
    curves: Mapping[K, Curve], baseline: Mapping[K, Curve]
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The grid (X,), and on it both curves of the seeds that have them, (seeds, X) each; None
    where no two points are common."""
    seeds = [s for s in baseline if s in curves and len(curves[s]) and len(baseline[s])]
    grid, rows = common_grid([*(curves[s] for s in seeds), *(baseline[s] for s in seeds)])
    return None if len(grid) < 2 else (grid, rows[: len(seeds)], rows[len(seeds) :])


def _needed(grid: np.ndarray, base: np.ndarray) -> float:
    """Where the baseline first reaches its own final level."""
    reached = rollouts_to_reach(list(zip(grid, base, strict=True)), float(base[-1]))
    assert reached is not None
    return max(reached, float(grid[0])) or 1.0


def _ratio(grid: np.ndarray, arm: np.ndarray, base: np.ndarray) -> float | None:
    level = float(base[-1])
    needed = rollouts_to_reach(list(zip(grid, base, strict=True)), level)
    if needed is None or needed <= 0 or needed <= grid[0]:
        return None
    reached = rollouts_to_reach(list(zip(grid, arm, strict=True)), level)
    return math.inf if reached is None else reached / needed
