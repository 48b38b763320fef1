"""The control that knows nothing."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from apportion.credit.base import Group, Method, Sample, TokenCredit, stable_rng
from apportion.credit.share import share


class Random(Method):
    """Random credit: A_t = c_t A with an exponential weight drawn for each step, mean of c is 1.

    As concentrated as real credit can be and as uninformed as possible; fixed by seed and
    completion. Degenerate case: fewer than two steps give c = 1.
    """

    cap: float = Field(default=2.0, ge=1.0)

    def assign(self, group: Group) -> list[TokenCredit]:
        credits = []
        for sample, base in zip(group.samples, group.base_G, strict=True):
            values_T = self._multipliers(sample, group.seed)
            credits.append(TokenCredit(values_T, values_T * float(base)))
        return credits

    def _multipliers(self, sample: Sample, seed: int) -> np.ndarray:
        values_T = sample.mask_T.astype(np.float64)
        weights_S = stable_rng(seed, "random", sample.rollout_id).exponential(
            size=len(sample.steps)
        )
        weight_T = np.zeros(len(values_T))
        inside_T = np.zeros_like(sample.mask_T)
        for step, weight in zip(sample.steps, weights_S, strict=True):
            tokens_T = sample.tokens_of(step.start, step.end)
            weight_T[tokens_T] = weight
            inside_T |= tokens_T
        if inside_T.any():
            values_T[inside_T] = share(weight_T[inside_T], cap=self.cap)
        return values_T
