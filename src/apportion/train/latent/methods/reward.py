"""What the completions of a latent policy are worth."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from apportion.config import RunConfig
from apportion.errors import UserError
from apportion.policies.reward_model import Answered, RewardModel
from apportion.tasks import Task
from apportion.trace import Problem


class CompletionReward:
    """The task's score, or with ``reward.kind: model`` that of a reward model.

    Text in, numbers out: a reward model sees what a policy writes, and never a latent step. Raises
    UserError for ``reward.kind: likelihood``.
    """

    def __init__(self, config: RunConfig, task: Task, device: torch.device) -> None:
        if config.reward.kind == "likelihood":
            raise UserError(
                "reward.kind likelihood: a latent chain is a function, so the likelihood of the "
                "answer is learned without a reward: use latent.learning answer"
            )
        self._task = task
        self._model: RewardModel | None = None
        if config.reward.kind == "model":
            self._model = RewardModel.load(config.reward.path or "")
            self._model.model.to(device)

    def __call__(
        self, problems: Sequence[Problem], texts: Sequence[str]
    ) -> tuple[list[float | None], dict[str, float]]:
        """What each text is worth (None: undecided), and metrics where a model judges."""
        pairs = list(zip(problems, texts, strict=True))
        gold = [self._task.score(problem, text) for problem, text in pairs]
        if self._model is None:
            return gold, {}
        scores = self._model.score([Answered(p, t, self._task.reasoning_end(t)) for p, t in pairs])
        known = [score for score in gold if score is not None]
        metrics = {"reward/proxy": sum(scores) / len(scores)}
        if known:
            metrics["reward/gold"] = sum(known) / len(known)
        return list(scores), metrics


def check_reward(config: RunConfig) -> None:
    """Raises UserError where a reward is asked for and the method of learning has none."""
    learning = config.latent.learning.kind
    if config.reward.kind != "outcome" and learning not in ("outcome", "hrpo"):
        raise UserError(
            f"reward.kind {config.reward.kind}: latent.learning {learning} learns from gold "
            "answers: use outcome or hrpo, or leave reward out"
        )
