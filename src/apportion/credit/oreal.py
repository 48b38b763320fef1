"""Credit by a token reward model that was only ever told which completions were right."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from apportion.credit.base import FloatArray, Group, Method, TokenCredit


class Oreal(Method):
    """A_t = w_t A, with w_t = max(0, 2 p_t - 1) where A > 0 and negative_weight max(0, 1 - 2 p_t)
    where A < 0; p_t = sigmoid(mean of the token model's scores up to and with token t).

    A right completion learns from the tokens behind which it looked right, a wrong one from those
    behind which it looked wrong. The token model is fitted by cross-entropy of the sigmoid of its
    mean score over a completion with whether that was right, both sides of a group counting alike.

    Source: OREAL (Lyu et al. 2025, arXiv 2502.06781), section 3. There one right and one wrong
    completion of each prompt are learned from, the right one by weighted likelihood; here the
    whole group with its own advantage, whose gradient on fresh completions is the same.
    Needs nobody's review; costs a second network, section ``token_model``.
    Degenerate cases: a model that cannot tell (p = 1/2) gives 0 everywhere, and so does an
    undecided outcome.
    """

    reads_reviews: ClassVar[bool] = False

    negative_weight: float = Field(default=0.5, ge=0)

    @property
    def needs(self) -> tuple[str, ...]:
        return ("token_score",)

    def assign(self, group: Group) -> list[TokenCredit]:
        credits = []
        for sample, base in zip(group.samples, group.base_G, strict=True):
            weights_T = np.zeros(len(sample.mask_T))
            own_T = sample.mask_T.astype(bool)
            if base:
                leaning_T = 2 * chance_right(sample.signals["token_score"][own_T]) - 1
                leaning_T = leaning_T if base > 0 else -leaning_T * self.negative_weight
                weights_T[own_T] = np.maximum(0.0, leaning_T)
            credits.append(TokenCredit(weights_T, weights_T * base))
        return credits


def chance_right(scores_T: FloatArray) -> FloatArray:
    """p_t (T,): sigmoid of the mean of the scores up to and with each token."""
    means_T = np.cumsum(scores_T) / np.arange(1, len(scores_T) + 1)
    return 1 / (1 + np.exp(-np.clip(means_T, -60, 60)))
