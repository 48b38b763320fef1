"""The multi-sample Jensen bound of the log-likelihood of the reference answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from apportion.credit.likelihood.base import (
    Form,
    Scored,
    Weights,
    combined,
    share_of_each,
    softmax,
)


class Jepo(Form):
    """L_G = log (1/G) sum_i p(a*|x, r_i), a bound of log p(a*|x) that grows with G.

    grad E[L_G] = E[sum_i (L_G - v_i) grad log p(r_i|x) + w_i grad log p(a*|x, r_i)] with
    w_i = p_i / sum_j p_j and the leave-one-out control variate v_i = log 1/(G-1) sum_{j!=i} p_j,
    which does not depend on r_i. The weights are multiplied by G, as the trainer averages over a
    group. The recorded reward is log p_i. Source: JEPO, arXiv 2503.19618, section 4; the variate
    of Mnih and Rezende 2016. With one completion it is the single-sample bound, form ``logprob``.
    """

    def weigh(self, group: Sequence[Scored]) -> Weights:
        count = len(group)
        if count < 2:
            raise ValueError("a leave-one-out control variate needs at least two completions")
        logps_G = np.array([combined(scored.logps_K, self.references) for scored in group])
        bound = np.logaddexp.reduce(logps_G) - np.log(count)
        without_G = np.array([np.logaddexp.reduce(np.delete(logps_G, i)) for i in range(count)])
        variates_G = without_G - np.log(count - 1)
        shares_GK = np.stack([share_of_each(s.logps_K, self.references) for s in group])
        answers_GK = count * softmax(logps_G)[:, None] * shares_GK
        return Weights(logps_G, count * (bound - variates_G), answers_GK)
