"""What ``hindsight`` and ``flow`` do with the same number per token, h_t.

``apportion.policies.hindsight`` says what h_t is and measures it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from apportion.credit.base import EPSILON, FloatArray, Sample, TokenCredit


def bounded(sample: Sample, signal: str, largest: float) -> FloatArray:
    """h_t within [-largest, largest], 0 where a token may not be trained on, (T,) float64.

    A token that the helper holds impossible would else outweigh all others.
    """
    return np.clip(sample.signals[signal], -largest, largest) * sample.mask_T


def to_go(reward_T: FloatArray, discount: float) -> FloatArray:
    """G_t = sum over s >= t of discount^(s - t) reward_s, (T,)."""
    if discount == 0:
        return reward_T.copy()
    if discount == 1:
        return reward_T[::-1].cumsum()[::-1]
    total, found_T = 0.0, np.zeros_like(reward_T)
    for t in range(len(reward_T) - 1, -1, -1):
        total = found_T[t] = reward_T[t] + discount * total
    return found_T


def scaled(rows: Sequence[FloatArray], on: Sequence[np.ndarray], mean: bool) -> list[FloatArray]:
    """Every row over the standard deviation of all tokens that are ``on``, 0 elsewhere; with
    ``mean`` less their mean. Population figures, as for CAPO. No spread gives 0."""
    together = np.concatenate([row[o] for row, o in zip(rows, on, strict=True)])
    if not len(together) or np.ptp(together) == 0:
        return [np.zeros_like(row) for row in rows]
    centre = together.mean() if mean else 0.0
    spread = together.std() + EPSILON
    return [np.where(o, (row - centre) / spread, 0.0) for row, o in zip(rows, on, strict=True)]


def on_chain(sample: Sample) -> np.ndarray:
    """Trainable tokens of the reasoning that the helper was asked about, (T,) bool."""
    return sample.mask_T & (sample.signals["hindsight_chain"] > 0)


def paid(sample: Sample, value_T: FloatArray, outcome: float) -> TokenCredit:
    """The values, and ``outcome`` on top of them on every trainable token, as advantages."""
    return TokenCredit(value_T, value_T + outcome * sample.mask_T)
