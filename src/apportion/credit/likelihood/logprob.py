"""Reward: the log-probability of the reference answer after the reasoning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from apportion.credit.likelihood.base import FloatArray, Form, Scored, combined, share_of_each


class LogProb(Form):
    """R = log p(a*|x, r), the objective E_r[log p(a*|x, r)].

    Its gradient is E_r[(R - b) grad log p(r|x) + grad log p(a*|x, r)]: the answer weight is 1,
    split over several references. By Jensen's inequality the objective is a lower bound of
    log p(a*|x). Source: arXiv 2602.03979, which finds it to work on short and long answers alike,
    and chains to shorten first. Degenerate case: chains that say nothing about the answer all get
    one reward, and the rest is supervised training of the answer.

    >>> LogProb().rewards([Scored((np.log([0.5, 0.5]),))]).round(3).tolist()
    [-1.386]
    """

    def rewards(self, group: Sequence[Scored]) -> FloatArray:
        return np.array([combined(scored.logps_K, self.references) for scored in group])

    def answer_weights(self, group: Sequence[Scored]) -> FloatArray:
        return np.stack([share_of_each(scored.logps_K, self.references) for scored in group])
