"""Credit by hindsight: which tokens does knowing the answer make likelier?"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from apportion.credit.base import FloatArray, Group, Method, TokenCredit
from apportion.credit.velocity import bounded, on_chain, paid, scaled, to_go


class Hindsight(Method):
    """Hindsight credit with a helper q that sees the answer, h_t = log q(r_t | x, a, r_<t)
    - log p(r_t | x, r_<t), bounded to +-``largest``.

    ``form`` "credit": A_t = c_t A with c_t = 1 - exp(-h_t), at least -``clip``. A token that made
    the reached answer likelier shares the outcome, praise or blame; one that did not matter gets
    nothing. By default ``answer`` is "reached", the answer of the completion itself.
    ``form`` "to_go": A_t = (G_t - mean) / (std + eps) over the reasoning tokens of the group, with
    G_t = sum over s >= t of discount^(s-t) h_s. By default ``answer`` is the "reference": the
    policy gradient of the two-stage helper, which needs no grader; ``outcome_weight`` adds so many
    times A. The tokens of the answer get ``outcome_weight`` A in this form and 0 in the other.

    Source: hindsight credit assignment, arXiv 1912.02503, return-conditional form (1 - pi/h) Z
    with Z the group advantage; to_go: the two-stage helper of the post on neuralese.
    Assumes a helper near the true posterior; ``helper/correlation`` says how near.
    Degenerate cases: q = p gives 0 everywhere; in the form "credit" equal outcomes of a group give
    0; G_t without spread gives ``outcome_weight`` A.
    """

    reads_reviews: ClassVar[bool] = False

    form: Literal["credit", "to_go"] = "credit"
    answer: Literal["reached", "reference"] | None = None
    largest: float = Field(default=5.0, gt=0)
    clip: float = Field(default=1.0, ge=0)
    discount: float = Field(default=1.0, ge=0, le=1)
    outcome_weight: float = Field(default=0.0, ge=0)

    @property
    def signal(self) -> str:
        answer = self.answer or ("reached" if self.form == "credit" else "reference")
        return "hindsight" if answer == "reference" else "hindsight_reached"

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.signal, "hindsight_chain")

    def assign(self, group: Group) -> list[TokenCredit]:
        h = [bounded(sample, self.signal, self.largest) for sample in group.samples]
        if self.form == "credit":
            values = [self._share(h_T) for h_T in h]
            return [
                TokenCredit(values_T, values_T * float(base))
                for values_T, base in zip(values, group.base_G, strict=True)
            ]
        reward = [to_go(h_T, self.discount) for h_T in h]
        on = [on_chain(sample) for sample in group.samples]
        return [
            paid(sample, value_T, self.outcome_weight * float(base))
            for sample, value_T, base in zip(
                group.samples, scaled(reward, on, mean=True), group.base_G, strict=True
            )
        ]

    def _share(self, h_T: FloatArray) -> FloatArray:
        return np.maximum(1.0 - np.exp(-h_T), -self.clip)
