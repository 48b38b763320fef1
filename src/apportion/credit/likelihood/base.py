"""What a likelihood form takes and gives.

A form sees the completions of one prompt, each with the log-probabilities that the policy gives
the tokens of the reference answers after the completion's own reasoning. It says what each
completion is worth and how the two halves of the gradient are weighted. Pure: numbers in, numbers
out.

    _G  completions of one prompt    _K  references of one problem    _T  tokens of one reference
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

FloatArray = np.ndarray
References = Literal["mean", "logsumexp"]


@dataclass(frozen=True)
class Scored:
    """One completion. ``logps_KT[k]`` holds the natural log-probabilities of the tokens of
    reference k after the reasoning, (T_k,); ``blank_KT`` the same without any reasoning.

    ``answered`` is False where the completion never wrote the answer's marker. The marker is then
    scored together with the references: what answering there and then would be worth.
    """

    logps_KT: tuple[FloatArray, ...]
    blank_KT: tuple[FloatArray, ...] = ()
    answered: bool = True

    @property
    def logps_K(self) -> FloatArray:
        """log p(a_k | x, r), (K,)."""
        return np.array([float(logps_T.sum()) for logps_T in self.logps_KT])


@dataclass(frozen=True)
class Weights:
    """``rewards_G`` as recorded; ``advantages_G`` what multiplies grad log p of the reasoning;
    ``answers_GK`` what multiplies grad log p of each reference after it."""

    rewards_G: FloatArray
    advantages_G: FloatArray
    answers_GK: FloatArray


class Form(BaseModel):
    """Base of the forms: the docstring of each is its definition.

    ``references`` "mean" averages over the references of a problem, "logsumexp" adds their
    probabilities.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Whether the references are also needed without reasoning.
    needs_blank: ClassVar[bool] = False

    references: References = "mean"

    def weigh(self, group: Sequence[Scored]) -> Weights:
        """Rewards, advantages and answer weights of one group of at least two completions."""
        rewards_G = self.rewards(group)
        return Weights(rewards_G, leave_one_out(rewards_G), self.answer_weights(group))

    def rewards(self, group: Sequence[Scored]) -> FloatArray:
        """(G,)"""
        raise TypeError(f"{type(self).__name__} does not say what a completion is worth")

    def answer_weights(self, group: Sequence[Scored]) -> FloatArray:
        """(G, K); zeros where the form trains the reasoning alone."""
        return np.zeros((len(group), len(group[0].logps_KT)))


def leave_one_out(rewards_G: FloatArray) -> FloatArray:
    """r_i minus the mean of the others, (G,): an unbiased baseline, as in RLOO (Ahmadian et al.
    2024, arXiv 2402.14740). Raises ValueError for a group of one."""
    rewards_G = np.asarray(rewards_G, dtype=np.float64)
    if len(rewards_G) < 2:
        raise ValueError("a leave-one-out baseline needs a group of at least two completions")
    others_G = (rewards_G.sum() - rewards_G) / (len(rewards_G) - 1)
    return rewards_G - others_G


def combined(logps_K: FloatArray, references: References) -> float:
    """log p of a problem's references together: the mean of their log p, or log of the sum."""
    return float(logps_K.mean() if references == "mean" else np.logaddexp.reduce(logps_K))


def share_of_each(logps_K: FloatArray, references: References) -> FloatArray:
    """Derivative of :func:`combined` by each log p, (K,): sums to 1."""
    if references == "mean":
        return np.full(len(logps_K), 1.0 / len(logps_K))
    return softmax(logps_K)


def softmax(values: FloatArray) -> FloatArray:
    shifted = np.exp(values - values.max())
    return shifted / shifted.sum()
