"""Asymmetric outcome and process reward, normalised over the tokens of a group."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from apportion.credit.base import EPSILON, Group, Method, Sample, TokenCredit, blamed_tokens


class Capo(Method):
    """CAPO: r_t = C R - P w_t, then A_t = (r_t - mean) / (std + eps) over the group's tokens.

    w_t is the voted share against the token's step (0 or 1, a fraction under the rule "average").
    With C = 2 and P = 1 a token earns +2 (right answer, right step), +1 (right, wrong), 0 (wrong,
    right) or -1 (wrong, wrong). Mean and (population) std run over all trainable tokens of the
    group's reviewed completions.

    Source: arXiv 2508.02298, equations 1 and 2; C and P from its ablation.
    Assumes C > P, so that every right chain outranks every wrong one.
    Degenerate cases: std = 0 gives A_t = 0; a completion whose reviews all failed is left out of
    the statistics and gets 0; a group without any review gets the outcome advantage.

    ``schedule`` "linear" raises P from 0 to its full value over training, since early process
    weight slows learning. ``mixed_only`` leaves groups without different outcomes alone: there
    the advantage would be process reward only, which teaches to write less. ``blame_on`` "focus"
    charges only the tokens that the reviewer pointed at.
    """

    outcome_weight: float = Field(default=2.0, gt=0)
    process_weight: float = Field(default=1.0, ge=0)
    schedule: Literal["constant", "linear"] = "constant"
    mixed_only: bool = False
    blame_on: Literal["step", "focus"] = "step"

    def assign(self, group: Group) -> list[TokenCredit]:
        counted = [s.reviewed and not np.isnan(s.outcome) for s in group.samples]
        if not any(s.reviewed for s in group.samples):
            return self._as_outcome(group)
        process = self.process_weight
        if self.schedule == "linear":
            process *= min(max(group.progress, 0.0), 1.0)
        rewards = [self._reward(sample, process) for sample in group.samples]
        pool = [r[s.mask_T] for r, s, c in zip(rewards, group.samples, counted, strict=True) if c]
        tokens = np.concatenate(pool) if pool else np.zeros(0)
        silent = len(tokens) == 0 or tokens.std() == 0 or (self.mixed_only and not group.mixed)
        credits = []
        for reward_T, sample, count in zip(rewards, group.samples, counted, strict=True):
            advantage_T = np.zeros_like(reward_T)
            if count and not silent:
                scaled_T = (reward_T - tokens.mean()) / (tokens.std() + EPSILON)
                advantage_T = np.where(sample.mask_T, scaled_T, 0.0)
            credits.append(TokenCredit(np.where(sample.mask_T, reward_T, 0.0), advantage_T))
        return credits

    def _reward(self, sample: Sample, process: float) -> np.ndarray:
        outcome = 0.0 if np.isnan(sample.outcome) else sample.outcome
        reward_T = np.full(len(sample.mask_T), self.outcome_weight * outcome)
        for step in sample.steps:
            if step.wrong > 0:
                reward_T[blamed_tokens(sample, step, self.blame_on)] -= process * step.wrong
        return reward_T

    def _as_outcome(self, group: Group) -> list[TokenCredit]:
        credits = []
        for sample, base in zip(group.samples, group.base_G, strict=True):
            on_T = sample.mask_T.astype(np.float64)
            outcome = 0.0 if np.isnan(sample.outcome) else sample.outcome
            credits.append(TokenCredit(on_T * self.outcome_weight * outcome, on_T * float(base)))
        return credits
