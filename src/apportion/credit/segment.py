"""Credit by segments that end where the policy had a choice."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from apportion.credit.base import Group, Method, TokenCredit
from apportion.credit.monte_carlo import gain


class Segment(Method):
    """A_t = V(end of its segment) - V(start), V the mean outcome of ``samples`` continuations.

    A segment begins at a token that the policy gave less than ``probability``. Such tokens are
    spread evenly over at most ``segments`` segments, so that each holds about as many choices.
    The last segment ends with the outcome: over the segments A adds up to outcome - V(prompt).
    With ``choices_only`` the tokens that the policy was sure of get no advantage.

    Source: SPO-chain (Guo et al. 2025, arXiv 2505.23564): cut points at low probability, segment
    advantage, probability mask. Their segments hold a fixed number of cut points; ours have a
    fixed number of segments, so that a completion's cost is bounded.
    Degenerate cases: no token below ``probability`` makes the completion one segment, and with
    ``choices_only`` gives 0; an undecided outcome gives 0.
    """

    reads_reviews: ClassVar[bool] = False

    samples: int = Field(default=4, ge=1)
    probability: float = Field(default=0.9, gt=0, le=1)
    segments: int = Field(default=4, ge=1)
    choices_only: bool = True

    @property
    def needs(self) -> tuple[str, ...]:
        return ("segment_value", "segment_value_after", "choice")

    def assign(self, group: Group) -> list[TokenCredit]:
        credits = []
        for sample in group.samples:
            gain_T = gain(sample, "segment_value", "segment_value_after")
            on_T = sample.signals["choice"] > 0
            credits.append(TokenCredit(gain_T, gain_T * on_T if self.choices_only else gain_T))
        return credits
