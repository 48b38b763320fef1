"""Credit by a critic: how much better than expected did things look behind this token?"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from apportion.credit.base import FloatArray, Group, Method, TokenCredit


class Critic(Method):
    """A_t = sum_l (gamma lam)^l d_{t+l} with d_t = r_t + gamma V_{t+1} - V_t: generalised
    advantage estimation over the tokens, V learned. The outcome is paid at the last token.

    lam = 1 is outcome - V_t (no bias from V, most variance), lam = 0 believes V alone. The critic
    itself is fitted to the same sum with ``value_lam`` (1: to what the completion was paid).

    Source: Schulman et al. 2016 (arXiv 1506.02438), equation 16, on tokens as in PPO; fitting the
    critic by lam = 1 whatever the policy's, and before the policy moves: Yuan et al. 2025 (arXiv
    2503.01491). Needs nobody's review; costs a second network, section ``token_model``.
    Degenerate cases: a critic that says 0 everywhere and lam = 1 give the outcome without a
    baseline; an undecided outcome gives 0.
    """

    reads_reviews: ClassVar[bool] = False

    gamma: float = Field(default=1.0, gt=0, le=1)
    lam: float = Field(default=0.95, ge=0, le=1)
    value_lam: float = Field(default=1.0, ge=0, le=1)

    @property
    def needs(self) -> tuple[str, ...]:
        return ("critic_value",)

    def assign(self, group: Group) -> list[TokenCredit]:
        credits = []
        for sample in group.samples:
            gain_T = np.zeros(len(sample.mask_T))
            if sample.outcome == sample.outcome:
                own_T = sample.mask_T.astype(bool)
                values_T = sample.signals["critic_value"][own_T]
                gain_T[own_T] = gae(sample.outcome, values_T, gamma=self.gamma, lam=self.lam)
            credits.append(TokenCredit(gain_T, gain_T))
        return credits


def gae(outcome: float, values_T: FloatArray, *, gamma: float, lam: float) -> FloatArray:
    """Generalised advantages (T,) of a completion that is paid ``outcome`` at its last token.

    ``values_T`` holds V before each token; V behind the last is 0.
    """
    advantages_T = np.zeros(len(values_T))
    following, value_after, reward = 0.0, 0.0, outcome
    for t in reversed(range(len(values_T))):
        surprise = reward + gamma * value_after - values_T[t]
        following = surprise + gamma * lam * following
        advantages_T[t] = following
        value_after, reward = values_T[t], 0.0
    return advantages_T
