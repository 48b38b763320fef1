"""Measures the value, or the reward, of each token with a network that learns beside the policy."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from apportion.config import RunConfig
from apportion.credit import Method
from apportion.credit.critic import Critic
from apportion.credit.oreal import Oreal, chance_right
from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.policies.token_head import TokenHead
from apportion.tasks import Task
from apportion.trace import Rollout, Step
from apportion.train.grpo.batch import CreditedBatch
from apportion.train.grpo.signals import Measured, inner_of
from apportion.train.grpo.token_model import Seen, TokenLearner, balanced, outcome_loss, value_loss
from apportion.train.measure.evaluate import sample_scored

_STATE = "token_model.pt"


class TokenSource:
    """Gives ``critic_value``, V before each token, or ``token_score``, what the token model says
    with the token seen (a logit).

    The network is fitted at the first measurement and after each update, as ``token_model`` says.
    Raises UserError where the task cannot score the completions to be fitted to.
    """

    gives = ("critic_value", "token_score")

    def __init__(
        self, config: RunConfig, method: Method, task: Task, policy: LanguageModelPolicy
    ) -> None:
        inner = inner_of(method)
        if not isinstance(inner, Critic | Oreal):
            raise UserError(f"{type(inner).__name__} does not say what a token model is fitted to")
        self._settings, self._train, self._seed = config.token_model, config.train, config.seeds[0]
        if config.reward.kind != "outcome" and (isinstance(inner, Oreal) or self._settings.updates):
            raise UserError(
                f"credit.method {config.credit['method']} is fitted to the task's outcome, and "
                f"completions are paid by reward.kind {config.reward.kind}: use outcome"
                + ("" if isinstance(inner, Oreal) else ", or set token_model.updates to 0")
            )
        self._task, self._policy = task, policy
        self._values = isinstance(inner, Critic)
        self._signal = "critic_value" if self._values else "token_score"
        loss = value_loss(inner) if isinstance(inner, Critic) else outcome_loss
        model = TokenHead(policy, after=not self._values)
        self.learner = TokenLearner(model, self._settings, loss, self._seed)
        self._recent: deque[Seen] = deque(maxlen=self._settings.buffer)
        self._begun = False
        self._metrics: dict[str, float] = {}

    def measure(self, rollouts: Sequence[Rollout], cuts: Sequence[tuple[Step, ...]]) -> Measured:
        """Raises UserError where completions to be fitted to have no outcome."""
        self.learner.model.to(self._policy.model.device)
        if not self._begun:
            self._begin()
        scores = self.learner.model.scores(
            [self._policy.prompt_ids(r.problem) for r in rollouts], [r.token_ids for r in rollouts]
        )
        found = [s.double().numpy() for s in scores]
        metrics = self._figures(rollouts, found) | self._metrics
        self._metrics = {}
        measured = [
            r.model_copy(update={"signals": r.signals | {self._signal: tuple(s.tolist())}})
            for r, s in zip(rollouts, found, strict=True)
        ]
        return Measured(measured, metrics)

    def learn(self, credited: CreditedBatch) -> None:
        """Fit the network to the latest completions."""
        pairs = zip(credited.rollouts, credited.samples, strict=True)
        self._recent += [self._seen(r, s.mask_T.tolist()) for r, s in pairs if _known(r)]
        self._fit(list(self._recent), self._settings.refresh_updates)

    def save(self, folder: Path) -> None:
        self.learner.save(
            folder / _STATE,
            recent=[tuple(one) for one in self._recent],
            metrics=self._metrics,
            begun=self._begun,
        )

    def load(self, folder: Path) -> None:
        state = self.learner.load(folder / _STATE)
        self._recent.extend(Seen(*one) for one in state["recent"])
        self._metrics, self._begun = state["metrics"], state["begun"]

    def _begin(self) -> None:
        """Fit to completions of the policy as it is."""
        self._begun = True
        settings = self._settings
        if not settings.updates:
            return
        rollouts = sample_scored(
            self._policy,
            self._task,
            self._task.problems("train", settings.problems, self._seed),
            n=settings.samples,
            temperature=self._train.temperature,
            max_tokens=self._train.max_completion_tokens,
            seed=self._seed,
        )
        scored = [r for r in rollouts if _known(r)]
        if not scored:
            raise UserError(
                "token_model: the task cannot tell whether a completion is right, so there is "
                "nothing to fit a token model to: use a credit method that needs none"
            )
        self._metrics["token_model/rollouts"] = float(len(rollouts))
        self._fit([self._seen(r, [True] * len(r.token_ids)) for r in scored], settings.updates)

    def _fit(self, seen: Sequence[Seen], updates: int) -> None:
        loss = self.learner.fit(seen if self._values else balanced(seen), updates)
        if loss is not None:
            self._metrics["token_model/loss"] = loss

    def _seen(self, rollout: Rollout, mask: list[bool]) -> Seen:
        return Seen(
            self._policy.prompt_ids(rollout.problem),
            list(rollout.token_ids),
            mask,
            float(rollout.outcome or 0.0),
            rollout.group,
        )

    def _figures(
        self, rollouts: Sequence[Rollout], found: Sequence[np.ndarray]
    ) -> dict[str, float]:
        """How good the network was before it learned from these; docs/metrics.md says more."""
        pairs = [(r, s) for r, s in zip(rollouts, found, strict=True) if _known(r)]
        if not pairs:
            return {}
        if not self._values:
            sides = [
                (chance_right(s)[-1] >= 0.5) == (float(r.outcome or 0) >= 0.5) for r, s in pairs
            ]
            return {"token_model/accuracy": float(np.mean(sides))}
        values = np.concatenate([s for _, s in pairs])
        returns = np.concatenate([np.full(len(s), float(r.outcome or 0)) for r, s in pairs])
        spread = returns.var()
        if not spread:
            return {}
        return {"token_model/explained": float(1 - (returns - values).var() / spread)}


def _known(rollout: Rollout) -> bool:
    return rollout.outcome is not None and len(rollout.token_ids) > 0
