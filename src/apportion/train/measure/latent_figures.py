"""How long a latent policy thinks, and whether longer about harder problems."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from apportion.stats import Estimate, mean, over_rows, stratified_bootstrap
from apportion.trace import Rollout


def latent_figures(rollouts: Sequence[Rollout]) -> dict[str, Estimate | None]:
    """``eval/latent_steps``, and ``eval/latent_steps_difficulty`` where the problems know how many
    operations they take; empty for rollouts that think in text."""
    taken = [r.meta.get("latent_steps") for r in rollouts]
    if not taken or None in taken:
        return {}
    steps = [float(count) for count in taken if count is not None]
    found = {"eval/latent_steps": stratified_bootstrap(steps, statistic=mean)}
    operations = [r.problem.meta.get("operations") for r in rollouts]
    if all(isinstance(count, int) for count in operations):
        hard = [float(count) for count in operations if count is not None]
        found["eval/latent_steps_difficulty"] = rank_correlation(hard, steps)
    return found


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> Estimate | None:
    """Spearman's rho, ties at their mean rank, with a percentile interval over pairs; the ranks are
    those of all pairs. None where x or y does not vary."""
    a, b = _ranks(x), _ranks(y)
    # Centred, so that a sum of products that is zero is so to the bit.
    a, b = a - a.mean(), b - b.mean()
    if not a.any() or not b.any():
        return None
    return over_rows(np.stack([np.ones_like(a), a, b, a * a, b * b, a * b], axis=-1), _correlation)


def _correlation(sums: np.ndarray) -> np.ndarray:
    n, a, b, aa, bb, ab = np.moveaxis(sums, -1, 0)
    spread = (n * aa - a * a) * (n * bb - b * b)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > 0, (n * ab - a * b) / np.sqrt(spread), np.nan)


def _ranks(values: Sequence[float]) -> np.ndarray:
    _, place, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]
