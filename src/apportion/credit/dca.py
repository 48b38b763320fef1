"""Deliberative credit assignment, approach 1: redistribute a fixed reward by agreed verdicts."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from apportion.credit.base import Group, Method, Sample, TokenCredit, blamed_tokens
from apportion.credit.share import share
from apportion.trace import StepConsensus


class Dca(Method):
    """DCA: A_t = c_t A, where the mean of c over a completion's tokens is exactly 1.

    Reviewers decide where the credit goes, never how much there is: the sum of A_t over the tokens
    does not depend on them. Disputed and unreviewed tokens (the answer too) keep c_t = 1; the
    agreed tokens share the rest in proportion to a weight. For A > 0 the weight is usefulness
    (useful 1, irrelevant ``irrelevant_credit``, harmful 0). For A < 0 it is blame (harmful 1,
    irrelevant ``irrelevant_blame``, useful 0): on failed chains usefulness would punish the good
    steps most. ``floor`` <= c_t <= ``cap``; what the cap cuts goes to the other agreed tokens.

    Source: "Deliberative Credit Assignment: Making Faithful Reasoning Profitable" (F. Dietz,
    2025), approach 1. It gives no formula; conservation and the blame side are this package's.
    Assumes reviewers whose verdicts are better than chance (Youden's J > 0).
    Degenerate cases: no agreement, equal weights, or no weight at all give c = 1.

    ``signed``: on right chains harmful tokens get c_t = -``penalty`` and the others share what
    that frees, so that a mistake made only to be caught is not worth making; the cap rises by the
    penalty. ``blame_on`` "focus" moves blame from the whole wrong step to the tokens that the
    reviewer pointed at. ``unearned`` says what becomes of a right chain none of whose agreed steps
    is useful, so that something else than the reasoning gave the answer: "spread" keeps c = 1,
    "withhold" gives the whole chain c = 0, the one case in which the sum is not conserved.
    """

    cap: float = Field(default=2.0, ge=1.0)
    floor: float = Field(default=0.0, ge=0.0, le=1.0)
    irrelevant_credit: float = Field(default=0.0, ge=0.0, le=1.0)
    irrelevant_blame: float = Field(default=0.5, ge=0.0, le=1.0)
    signed: bool = False
    penalty: float = Field(default=0.5, ge=0.0)
    blame_on: Literal["step", "focus"] = "step"
    unearned: Literal["spread", "withhold"] = "spread"

    def assign(self, group: Group) -> list[TokenCredit]:
        credits = []
        for sample, base in zip(group.samples, group.base_G, strict=True):
            values_T = self.multipliers(sample, float(base))
            credits.append(TokenCredit(values_T, values_T * float(base)))
        return credits

    def multipliers(self, sample: Sample, base: float) -> np.ndarray:
        """c_t, shape (T,): 0 off the mask, mean 1 on it."""
        values_T = sample.mask_T.astype(np.float64)
        agreed = [step for step in sample.steps if step.status == "agreed"]
        if base == 0 or not agreed:
            return values_T
        agreed_T = np.zeros_like(sample.mask_T)
        weight_T = np.zeros(len(values_T))
        debit_T = np.zeros(len(values_T))
        for step in agreed:
            inside_T = sample.tokens_of(step.start, step.end)
            agreed_T |= inside_T
            self._weigh(sample, step, inside_T, base, weight_T, debit_T)
        if base > 0 and self.unearned == "withhold" and weight_T.sum() == 0:
            return np.zeros_like(values_T)
        cap = self.cap + (self.penalty if debit_T.any() else 0.0)
        values_T[agreed_T] = share(weight_T[agreed_T], debit_T[agreed_T], floor=self.floor, cap=cap)
        return values_T

    def _weigh(
        self,
        sample: Sample,
        step: StepConsensus,
        inside_T: np.ndarray,
        base: float,
        weight_T: np.ndarray,
        debit_T: np.ndarray,
    ) -> None:
        """Write one step's usefulness or blame, and what it owes, into the token arrays."""
        if base > 0:
            credit = {"useful": 1.0, "irrelevant": self.irrelevant_credit, "harmful": 0.0}
            weight_T[inside_T] = credit[step.label or "useful"]
            if step.label == "harmful":
                blamed_T = blamed_tokens(sample, step, self.blame_on)
                weight_T[inside_T & ~blamed_T] = 1.0
                debit_T[blamed_T] = self.penalty if self.signed else 0.0
        else:
            blame = {"useful": 0.0, "irrelevant": self.irrelevant_blame, "harmful": 1.0}
            weight_T[inside_T] = blame[step.label or "useful"]
            if step.label == "harmful":
                weight_T[inside_T & ~blamed_tokens(sample, step, self.blame_on)] = 0.0
