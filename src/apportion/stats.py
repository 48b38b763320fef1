"""Intervals and tests for few seeds and few hundred problems. numpy only.

Every estimate is an :class:`Estimate`: a value, how many independent things it rests on, and a
95 % interval where one can be given. Random numbers come from a fixed seed, so the same records
give the same page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

RESAMPLES = 4000
SEED = 20240229
# 2**20 sign patterns take 0.1 s; beyond that the patterns are sampled.
EXACT_LIMIT = 20

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Estimate:
    """A number with its interval. ``low`` and ``high`` are None where none can be given."""

    value: float
    n: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class SignFlip:
    """Result of :func:`sign_flip_test`; ``smallest`` is the least p that so few pairs can give."""

    p: float
    pairs: int
    exact: bool
    smallest: float


def mean(values: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.mean(values, axis=axis)


def interquartile_mean(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean of the middle half: ``int(n / 4)`` values are cut at either end.

    Same convention as ``scipy.stats.trim_mean(x, 0.25)``, which Agarwal et al. 2021 (Deep RL at
    the edge of the statistical precipice) use; with fewer than four values it is the mean.
    """
    ordered = np.sort(np.asarray(values, dtype=float), axis=axis)
    n = ordered.shape[axis]
    cut = n // 4
    return np.take(ordered, np.arange(cut, n - cut), axis=axis).mean(axis=axis)


def wilson(successes: float, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson score interval of a share, within [0, 1]; (0, 1) for no trials."""
    if n <= 0:
        return 0.0, 1.0
    share = successes / n
    middle = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # Rounding may step over the ends by 1e-17, where the exact bound is 0 or 1.
    low = 0.0 if successes <= 0 else max(0.0, (middle - half) / scale)
    high = 1.0 if successes >= n else min(1.0, (middle + half) / scale)
    return low, high


def share(successes: float, n: int) -> Estimate | None:
    """A share with its Wilson interval; None for no trials."""
    return Estimate(successes / n, n, *wilson(successes, n)) if n else None


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Unbiased chance that one of k of n samples is right: 1 - C(n-c, k) / C(n, k).

    Source: Chen et al. 2021 (Codex). Raises ValueError unless 0 <= correct <= n and 1 <= k <= n.
    """
    if not 0 <= correct <= n or not 1 <= k <= n:
        raise ValueError(f"pass@k needs 0 <= correct <= n and 1 <= k <= n, not {correct}, {n}, {k}")
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


def stratified_bootstrap(
    strata: Mapping[object, Sequence[float]] | Sequence[float],
    statistic: Callable[..., np.ndarray] = interquartile_mean,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Estimate | None:
    """Percentile interval of a statistic of all values; each stratum is resampled by itself.

    ``strata`` maps a stratum (a task, say) to its values, one per seed; a plain sequence is one
    stratum. With a single value there is no interval; None for no value at all.
    """
    groups = [np.asarray(v, float) for v in _strata(strata) if len(v)]
    if not groups:
        return None
    pooled = np.concatenate(groups)
    value = float(statistic(pooled))
    if all(len(group) < 2 for group in groups):
        return Estimate(value, len(pooled))
    rng = np.random.default_rng(seed)
    drawn = [g[rng.integers(0, len(g), (resamples, len(g)))] for g in groups]
    low, high = np.percentile(statistic(np.concatenate(drawn, axis=1), axis=-1), [2.5, 97.5])
    return Estimate(value, len(pooled), float(low), float(high))


def over_rows(
    rows: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Estimate | None:
    """Percentile interval of a statistic of summed rows (a ratio of counts, say), rows resampled.

    ``rows`` has shape (n, columns); ``statistic`` maps sums (..., columns) to figures (...), nan
    where there is none. Resamples without a figure are left out. None where the whole has none.
    """
    if not len(rows):
        return None
    value = float(statistic(rows.sum(0)))
    if np.isnan(value):
        return None
    if len(rows) < 2:
        return Estimate(value, len(rows))
    rng = np.random.default_rng(seed)
    sums = rows[rng.integers(0, len(rows), (resamples, len(rows)))].sum(1)
    low, high = np.nanpercentile(statistic(sums), [2.5, 97.5])
    return Estimate(value, len(rows), float(low), float(high))


def t_interval(values: Sequence[float], confidence: float = 0.95) -> Estimate | None:
    """Mean with Student's t interval; no interval for one value, None for none.

    For a handful of seeds: there the percentile bootstrap is too narrow (with five values it can
    go no further than those five), while this holds its level for nearly normal values. Equal
    values give an interval of no width.
    """
    if not len(values):
        return None
    given = np.asarray(values, dtype=float)
    n, value = len(given), float(given.mean())
    if n < 2:
        return Estimate(value, n)
    # Rounding of the mean would give equal values a spread of 1e-17.
    spread = 0.0 if np.ptp(given) == 0 else float(given.std(ddof=1))
    half = t_quantile(n - 1, (1 + confidence) / 2) * spread / math.sqrt(n)
    return Estimate(value, n, value - half, value + half)


def t_quantile(df: int, p: float = 0.975) -> float:
    """Quantile of Student's t distribution with ``df`` whole degrees of freedom, for p >= 1/2.

    Bisection of the distribution function in closed form: Abramowitz & Stegun 1964, 26.7.3-4.
    """
    if df < 1 or not 0.5 <= p < 1:
        raise ValueError(f"t quantile needs df >= 1 and 0.5 <= p < 1, not {df}, {p}")
    low, high = 0.0, math.pi / 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_between(middle, df) < 2 * p - 1 else (low, middle)
    return math.sqrt(df) * math.tan((low + high) / 2)


def _t_between(angle: float, df: int) -> float:
    """Chance that |t| is at most sqrt(df) * tan(angle)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = df % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for k in range(2 + odd, df + 1, 2):
        total += term
        term *= cosine * cosine * (k - 1) / k
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def _strata(strata: Mapping[object, Sequence[float]] | Sequence[float]) -> list[Sequence[float]]:
    return list(strata.values()) if isinstance(strata, Mapping) else [strata]


def paired_bootstrap(
    first: Mapping[K, float],
    second: Mapping[K, float],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Estimate | None:
    """Mean of second - first over the keys (seeds, problems) that both have, pairs resampled."""
    differences = paired_differences(first, second)
    return stratified_bootstrap(differences, mean, resamples=resamples, seed=seed)


def unpaired_bootstrap(
    first: Sequence[float],
    second: Sequence[float],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Estimate | None:
    """Mean of second - mean of first, each resampled by itself; n is the smaller count."""
    if not len(first) or not len(second):
        return None
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    value, n = float(b.mean() - a.mean()), min(len(a), len(b))
    if n < 2:
        return Estimate(value, n)
    rng = np.random.default_rng(seed)
    drawn_a = a[rng.integers(0, len(a), (resamples, len(a)))].mean(axis=1)
    drawn_b = b[rng.integers(0, len(b), (resamples, len(b)))].mean(axis=1)
    low, high = np.percentile(drawn_b - drawn_a, [2.5, 97.5])
    return Estimate(value, n, float(low), float(high))


def paired_differences(first: Mapping[K, float], second: Mapping[K, float]) -> list[float]:
    """second - first for each common key, in the order of ``first``."""
    return [second[key] - first[key] for key in first if key in second]


def sign_flip_test(differences: Sequence[float], *, seed: int = SEED) -> SignFlip | None:
    """Two-sided paired permutation test of a mean difference of zero.

    Under the null hypothesis each difference is as likely as its negative. Zeros do not change
    the statistic and are left out. Exact where at most 20 pairs differ, or where all differ by
    the same amount (McNemar's exact test, as for right/wrong answers); otherwise 100,000 sampled
    sign patterns, counted with the observed one so that p is never zero. None for no pairs.
    """
    if not len(differences):
        return None
    d = np.asarray(differences, dtype=float)
    nonzero = d[d != 0]
    n = len(nonzero)
    if n == 0:
        return SignFlip(1.0, len(d), True, 1.0)
    smallest = min(1.0, 2.0 ** (1 - n))
    sizes = np.abs(nonzero)
    observed = abs(float(nonzero.sum()))
    if np.allclose(sizes, sizes[0], rtol=1e-9, atol=0):
        return SignFlip(_binomial_p(n, int((nonzero > 0).sum())), len(d), True, smallest)
    # A tolerance keeps patterns that tie with the observed one from being lost to rounding.
    threshold = observed - 1e-9 * float(sizes.sum())
    if n <= EXACT_LIMIT:
        sums = np.zeros(1)
        for size in sizes:
            sums = np.concatenate([sums + size, sums - size])
        return SignFlip(float((np.abs(sums) >= threshold).mean()), len(d), True, smallest)
    rng = np.random.default_rng(seed)
    hits, draws = 0, 100_000
    for _ in range(100):
        signs = rng.integers(0, 2, (draws // 100, n)) * 2 - 1
        hits += int((np.abs(signs @ sizes) >= threshold).sum())
    return SignFlip((hits + 1) / (draws + 1), len(d), False, smallest)


def _binomial_p(n: int, positive: int) -> float:
    """Two-sided exact binomial p at one half."""
    tail = min(positive, n - positive)
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(tail + 1)) / 2**n)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment for several tests, in the given order."""
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted
