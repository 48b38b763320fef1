"""Reward: the rank of a completion in its group by the perplexity of the reference answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from apportion.credit.likelihood.base import FloatArray, Form, Scored


class Nover(Form):
    """R = (G - rank) / G, rank 1 for the lowest perplexity exp(-mean_t log p(a*_t|x, r)).

    Equal perplexities share the mean of their ranks. Only the order counts, so the scale of the
    likelihoods does not. It is a reward only: the answer gets no supervised term. Source: NOVER,
    arXiv 2505.16022; its rewards for format and short chains are left out, and the policy itself
    is the scorer where the paper takes a slowly copied one. Degenerate case: a group whose
    perplexities are all equal gets equal rewards.
    """

    references: Literal["mean"] = "mean"  # type: ignore[assignment]

    def rewards(self, group: Sequence[Scored]) -> FloatArray:
        surprise_G = np.array([_per_token(scored) for scored in group])
        below_GG = surprise_G[None, :] < surprise_G[:, None]
        equal_GG = surprise_G[None, :] == surprise_G[:, None]
        rank_G = below_GG.sum(axis=1) + (equal_GG.sum(axis=1) + 1) / 2
        return (len(group) - rank_G) / len(group)


def _per_token(scored: Scored) -> float:
    """Mean surprisal of a token in nats, over the references: the log of the perplexity."""
    return float(np.mean([-logps_T.mean() for logps_T in scored.logps_KT]))
