"""Each token is paid for how far it moves the policy towards the reference answer."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from apportion.credit.base import Group, Method, TokenCredit
from apportion.credit.velocity import bounded, on_chain, paid, scaled, to_go


class Flow(Method):
    """CoT-Flow's velocity as a dense reward without a grader: v_t = h_t with the reference answer,
    A_t = (G_t - b_t) / (std + eps), std over the reasoning tokens of the group.

    v_t = log p(a* | x, r_<=t) - log p(a* | x, r_<t) for a perfect helper. ``discount`` 0 pays a
    token for its own step alone; then b_t is exact: the mean of v over all tokens that the policy
    could have written there, -KL(p || q). With a larger discount b_t adds no more than that: what
    comes later is not centred. ``outcome_weight`` adds so many times A.

    Source: velocity and dense reward: arXiv 2601.09260; its loss could not be read, the baseline
    is ours. Assumes a helper near the true posterior and a reference answer.
    Degenerate case: q = p gives ``outcome_weight`` A. The tokens of the answer get that too.
    """

    reads_reviews: ClassVar[bool] = False

    discount: float = Field(default=0.0, ge=0, le=1)
    largest: float = Field(default=5.0, gt=0)
    outcome_weight: float = Field(default=0.0, ge=0)

    @property
    def needs(self) -> tuple[str, ...]:
        return ("hindsight", "hindsight_mean", "hindsight_chain")

    def assign(self, group: Group) -> list[TokenCredit]:
        gains, on = [], []
        for sample in group.samples:
            v_T = bounded(sample, "hindsight", self.largest)
            baseline_T = bounded(sample, "hindsight_mean", self.largest)
            gains.append(to_go(v_T, self.discount) - baseline_T)
            on.append(on_chain(sample))
        return [
            paid(sample, value_T, self.outcome_weight * float(base))
            for sample, value_T, base in zip(
                group.samples, scaled(gains, on, mean=False), group.base_G, strict=True
            )
        ]
