"""Measures what each step of a completion does to the chance of a right answer."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from apportion.config import RunConfig
from apportion.credit import Method
from apportion.credit.base import stable_rng
from apportion.credit.counterfactual import Counterfactual
from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.review.effects import (
    Chain,
    Effects,
    Sampler,
    removal_effects,
    resampled_effects,
)
from apportion.tasks import Task
from apportion.trace import Problem, Rollout, Step
from apportion.train.grpo.batch import CreditedBatch
from apportion.train.grpo.signals import Measured, inner_of


class StepEffects:
    """Gives ``effect`` of each token's step and ``effect_known``, 1 where it was measured: see
    :mod:`apportion.review.effects`. Completions whose outcome is undecided are not measured, and
    neither are those without a readable answer where the answer has to be scored.

    Raises UserError where completions are not paid with the task's outcome.
    """

    gives = ("effect", "effect_known")

    def __init__(
        self, config: RunConfig, method: Method, task: Task, policy: LanguageModelPolicy
    ) -> None:
        inner = inner_of(method)
        if not isinstance(inner, Counterfactual):
            raise UserError(f"{type(inner).__name__} does not say how to measure effects")
        if config.reward.kind != "outcome":
            raise UserError(
                "credit.method counterfactual takes the task's outcome as the value of an answer: "
                f"it cannot be used with reward.kind {config.reward.kind}"
            )
        self._method, self._task, self._policy = inner, task, policy
        self._train, self._segment, self._seed = config.train, config.segment, config.seeds[0]

    def measure(self, rollouts: Sequence[Rollout], cuts: Sequence[tuple[Step, ...]]) -> Measured:
        """Raises UserError where a continuation cannot be scored, or does not fit."""
        started = time.monotonic()
        asked = [
            (r, Chain(r.problem, r.text, tuple(cut)))
            for r, cut in zip(rollouts, cuts, strict=True)
            if r.outcome is not None and cut
        ]
        effects = self._effects([chain for _, chain in asked], rollouts[0].id) if asked else []
        found = {r.id: e for (r, _), e in zip(asked, effects, strict=True)}
        measured, known = [], []
        for rollout, cut in zip(rollouts, cuts, strict=True):
            effect = found.get(rollout.id)
            by_step = effect.by_step if isinstance(effect, Effects) else (None,) * len(cut)
            values = [None if one is None else one.value for one in by_step]
            signals = along(rollout, cut, values)
            measured.append(rollout.model_copy(update={"signals": rollout.signals | signals}))
            known += values
        return Measured(measured, _metrics(known, effects, time.monotonic() - started))

    def learn(self, credited: CreditedBatch) -> None:
        """Nothing is learned: the policy is its own measure."""

    def _effects(self, chains: list[Chain], name: str) -> Sequence[Effects | str]:
        seed = int(stable_rng(self._seed, "step effects", name).integers(2**31))
        method = self._method
        if method.intervention != "resample":
            return removal_effects(self._policy, chains, method.intervention, seed=seed)
        how = Sampler(
            samples=method.samples,
            temperature=self._train.temperature,
            max_tokens=self._train.max_completion_tokens,
            segment=self._segment,
            seed=seed,
        )
        return resampled_effects(self._policy, chains, self._score, how)

    def _score(self, problem: Problem, text: str) -> float:
        score = self._task.score(problem, text)
        if score is None:
            raise UserError(
                f"problem {problem.id}: the task cannot tell whether a continuation is right, so "
                "steps have no effect: use a credit method that asks for none"
            )
        return score


def along(
    rollout: Rollout, cut: Sequence[Step], values: Sequence[float | None]
) -> dict[str, tuple[float, ...]]:
    """The effect of each token's step, and whether it is known: two signals of T numbers. A token
    belongs to the step in which it begins; what is behind the last step has no effect."""
    effect_T, known_T = np.zeros(len(rollout.token_ids)), np.zeros(len(rollout.token_ids))
    starts_T = np.array([start for start, _ in rollout.token_spans])
    for step, value in zip(cut, values, strict=True):
        if value is not None:
            inside_T = (starts_T >= step.start) & (starts_T < step.end)
            effect_T[inside_T], known_T[inside_T] = value, 1.0
    return {"effect": tuple(effect_T.tolist()), "effect_known": tuple(known_T.tolist())}


def _metrics(
    values: Sequence[float | None], effects: Sequence[Effects | str], seconds: float
) -> dict[str, float]:
    """What was found and what it cost; docs/metrics.md explains each figure."""
    known = [value for value in values if value is not None]
    metrics = {
        "effect/tokens": float(sum(e.tokens for e in effects if isinstance(e, Effects))),
        "effect/seconds": seconds,
        "effect/known": len(known) / max(1, len(values)),
    }
    if known:
        metrics["effect/mean"] = float(np.mean(known))
        metrics["effect/needed"] = float(np.mean([value >= 0.1 for value in known]))
        metrics["effect/harmful"] = float(np.mean([value <= -0.1 for value in known]))
    return metrics
