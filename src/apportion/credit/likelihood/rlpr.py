"""Reward: how much the reasoning raises the mean probability of the reference's tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from apportion.credit.likelihood.base import FloatArray, Form, Scored


class Rlpr(Form):
    """R = max(0, mean_t p(a*_t|x, r) - mean_t p(a*_t|x)), averaged over the references.

    The mean is over token probabilities, so one unlikely token does not take everything; the
    second mean is that of the answer without reasoning (the debiasing). It is a reward only: the
    answer gets no supervised term. Source: RLPR, arXiv 2506.18254. A completion without the marker
    has R = 0. Degenerate case: reasoning that does not help anywhere gives 0 to all.
    """

    needs_blank: ClassVar[bool] = True
    references: Literal["mean"] = "mean"  # type: ignore[assignment]

    def rewards(self, group: Sequence[Scored]) -> FloatArray:
        return np.array([_gain(scored) if scored.answered else 0.0 for scored in group])


def _gain(scored: Scored) -> float:
    pairs = zip(scored.logps_KT, scored.blank_KT, strict=True)
    gains = [float(np.exp(after_T).mean() - np.exp(blank_T).mean()) for after_T, blank_T in pairs]
    return float(np.maximum(0.0, gains).mean())
