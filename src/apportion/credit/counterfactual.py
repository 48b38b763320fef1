"""Credit by counterfactuals: a fixed reward goes to the steps without which it was not earned."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from apportion.credit.base import Group, Method, Sample, TokenCredit
from apportion.credit.share import share


class Counterfactual(Method):
    """A_t = c_t A, where the mean of c over a completion's tokens is exactly 1, as in ``dca``, and
    the weights are measured instead of reviewed: the effect of a step is the chance of a right
    answer with it, minus that chance without it.

    For A > 0 the weight of a step is its effect where that is positive (it was needed), for A < 0
    what its effect lacks (a right answer was likelier without it); the rest of the effect is
    0. ``floor`` <= c_t <= ``cap``; what the cap cuts goes to the other measured tokens. Tokens
    without a measured effect (the answer, and steps in whose place nothing else was ever written)
    keep c_t = 1.

    ``intervention`` "resample": ``samples`` continuations from before and from behind each step,
    those from before counting where they begin otherwise. "delete", "replace": forward passes with
    the step taken out or made wrong and the rest kept, which say little of wrong chains. Source:
    Bogdan et al. 2025 (arXiv 2506.19143) and SLRC (arXiv 2603.22816); conservation is this
    package's. Needs nobody's review. Degenerate cases: no effect, or equal effects, give c = 1.
    """

    reads_reviews: ClassVar[bool] = False

    intervention: Literal["resample", "delete", "replace"] = "resample"
    samples: int = Field(default=4, ge=1)
    cap: float = Field(default=2.0, ge=1.0)
    floor: float = Field(default=0.0, ge=0.0, le=1.0)

    @property
    def needs(self) -> tuple[str, ...]:
        return ("effect", "effect_known")

    def assign(self, group: Group) -> list[TokenCredit]:
        credits = []
        for sample, base in zip(group.samples, group.base_G, strict=True):
            values_T = self.multipliers(sample, float(base))
            credits.append(TokenCredit(values_T, values_T * float(base)))
        return credits

    def multipliers(self, sample: Sample, base: float) -> np.ndarray:
        """c_t, shape (T,): 0 off the mask, mean 1 on it."""
        values_T = sample.mask_T.astype(np.float64)
        known_T = sample.mask_T & (sample.signals["effect_known"] > 0)
        if base == 0 or not known_T.any():
            return values_T
        effect_T = sample.signals["effect"][known_T]
        weight_T = np.maximum(effect_T if base > 0 else -effect_T, 0.0)
        values_T[known_T] = share(weight_T, floor=self.floor, cap=self.cap)
        return values_T
