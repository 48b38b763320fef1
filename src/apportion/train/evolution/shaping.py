"""From the rewards of perturbations to how much each of them pulls."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from apportion.errors import UserError


def shape(rewards: Sequence[float], shaping: str, sigma: float) -> np.ndarray:
    """Utilities u of (N,) rewards, for the step alpha / N * sum_i u_i eps_i.

    ``rank``: rank / (N - 1) - 1/2, ties sharing their mean rank (centred ranks, Salimans et al.
    2017). ``zscore``: (R - mean) / std. ``none``: (R - mean) / sigma, with which the sum estimates
    the gradient of the smoothed reward E[R(theta + sigma eps)]: without bias for antithetic pairs,
    (N - 1) / N of it for independent noise. Rewards that are all equal give zeros.

    Raises UserError that names the first reward that is not finite, and for an unknown shaping.
    """
    values_N = np.asarray(rewards, dtype=np.float64)
    for index, reward in enumerate(values_N):
        if not math.isfinite(reward):
            raise UserError(
                f"the reward of perturbation {index} is {reward}: lower evolution.sigma, or check "
                "the task's score"
            )
    if len(values_N) < 2 or np.ptp(values_N) == 0:
        return np.zeros_like(values_N)
    if shaping == "none":
        return (values_N - values_N.mean()) / sigma
    if shaping == "rank":
        return (rankdata(values_N) - 1) / (len(values_N) - 1) - 0.5
    if shaping == "zscore":
        return (values_N - values_N.mean()) / values_N.std()
    raise UserError(f"evolution.shaping: unknown '{shaping}': use rank, zscore or none")
