"""Every token of a completion gets the completion's advantage."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from apportion.credit.base import Group, Method, TokenCredit


class Outcome(Method):
    """Outcome credit: A_t = A, what GRPO does.

    Source: GRPO with outcome supervision, arXiv 2402.03300. Assumes nothing about the steps.
    Degenerate case: all outcomes of a group equal, then A = 0. The values are 1 for each token.

    With ``on`` "answer" the tokens of the reasoning get 0: no pressure acts on the chain itself,
    which then changes only as far as weights are shared. Where the reasoning's end is not known
    nothing gets credit.

    >>> import numpy as np
    >>> from apportion.credit.base import Sample
    >>> one = Sample("a", 1.0, np.array([True, True, False]), np.zeros((3, 2), int))
    >>> Outcome().assign(Group((one,), np.array([0.5])))[0].advantages_T.tolist()
    [0.5, 0.5, 0.0]
    """

    reads_reviews: ClassVar[bool] = False

    on: Literal["completion", "answer"] = "completion"

    def assign(self, group: Group) -> list[TokenCredit]:
        credits = []
        for sample, base in zip(group.samples, group.base_G, strict=True):
            values_T = sample.mask_T.astype(np.float64)
            if self.on == "answer":
                end = np.inf if sample.reasoning_end is None else sample.reasoning_end
                values_T = values_T * (sample.spans_T[:, 0] >= end)
            credits.append(TokenCredit(values_T, values_T * float(base)))
        return credits
