"""Reward: the probability of the reference answer after the reasoning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from apportion.credit.likelihood.base import FloatArray, Form, Scored


class VeriFree(Form):
    """R = p(a*|x, r), so that E_r[R] = p(a*|x) exactly.

    grad p(a*|x) = E_r[R grad log p(r|x) + R grad log p(a*|x, r)]: a policy term on the reasoning
    (with a leave-one-out baseline) and a supervised term on the answer weighted by R itself.
    Source: VeriFree, arXiv 2505.21493, section 2. A completion without the marker has not
    answered: R = 0. With several references R is the mean of their probabilities, or their sum
    ("logsumexp"). Degenerate case: p of a long answer vanishes and nothing is learned.
    """

    def rewards(self, group: Sequence[Scored]) -> FloatArray:
        probabilities_GK = self._probabilities(group)
        if self.references == "mean":
            return probabilities_GK.mean(axis=1)
        return probabilities_GK.sum(axis=1)

    def answer_weights(self, group: Sequence[Scored]) -> FloatArray:
        probabilities_GK = self._probabilities(group)
        divisor = probabilities_GK.shape[1] if self.references == "mean" else 1
        return probabilities_GK / divisor

    def _probabilities(self, group: Sequence[Scored]) -> FloatArray:
        return np.stack([np.exp(scored.logps_K) * scored.answered for scored in group])
