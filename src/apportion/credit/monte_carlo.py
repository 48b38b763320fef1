"""Credit by Monte-Carlo values: how much likelier did this step make a right answer?"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from apportion.credit.base import FloatArray, Group, Method, Sample, TokenCredit


class MonteCarlo(Method):
    """A_t = V(end of its step) - V(start of its step), V the mean outcome of ``samples``
    continuations by the policy. The answer is the last step, and its V(end) is the outcome, so
    over the steps of a completion A adds up to outcome - V(prompt).

    Source: VinePPO (Kazemnejad et al. 2024, arXiv 2410.01679), section 4: the value of a state
    is estimated by independent rollouts from it, discount 1, no critic.
    Needs nobody's review; costs ``samples`` completions at each border of two steps.
    Degenerate cases: a policy that is always right, or never, gives 0 everywhere, also where a
    group's outcomes differ by luck; an undecided outcome gives 0.
    """

    reads_reviews: ClassVar[bool] = False

    samples: int = Field(default=4, ge=1)

    @property
    def needs(self) -> tuple[str, ...]:
        return ("value", "value_after")

    def assign(self, group: Group) -> list[TokenCredit]:
        gains = [gain(sample, *self.needs) for sample in group.samples]
        return [TokenCredit(gain_T, gain_T) for gain_T in gains]


def gain(sample: Sample, before: str, after: str) -> FloatArray:
    """The signal ``after`` minus the signal ``before`` where a token may be trained on, else 0;
    0 everywhere where the outcome is undecided. (T,) float64."""
    gain_T = (sample.signals[after] - sample.signals[before]) * sample.mask_T
    return gain_T if sample.outcome == sample.outcome else gain_T * 0.0
