"""Outcome advantage for all, process advantage among the right ones only."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from apportion.credit.base import EPSILON, Group, Method, Sample, TokenCredit


class Papo(Method):
    """PAPO: A = A_outcome + weight * A_process, A_process normalised among right completions.

    The process score of a completion is the share of its reviewed steps that were not voted wrong.
    Among the right completions of a group A_process = (score - mean) / (std + eps) with the
    unbiased std; wrong completions get none, so that tidy steps cannot pay for a wrong answer.

    Source: arXiv 2603.26535 (decoupled normalisation). Assumes binary outcomes; right is R > 0.5.
    Degenerate cases: fewer than two reviewed right completions, or equal scores: outcome only.
    """

    weight: float = Field(default=1.0, ge=0.0)

    def assign(self, group: Group) -> list[TokenCredit]:
        scores_G = np.array([_process_score(sample) for sample in group.samples])
        counted_G = (group.outcomes_G > 0.5) & ~np.isnan(scores_G)
        process_G = np.zeros(len(scores_G))
        if counted_G.sum() > 1:
            scores = scores_G[counted_G]
            process_G[counted_G] = (scores - scores.mean()) / (scores.std(ddof=1) + EPSILON)
        credits = []
        for sample, base, process in zip(group.samples, group.base_G, process_G, strict=True):
            on_T = sample.mask_T.astype(np.float64)
            advantage = float(base) + self.weight * float(process)
            credits.append(TokenCredit(on_T * self.weight * float(process), on_T * advantage))
        return credits


def _process_score(sample: Sample) -> float:
    votes = [step.wrong for step in sample.steps if step.status != "unreviewed"]
    return 1.0 - float(np.mean(votes)) if votes else float("nan")
