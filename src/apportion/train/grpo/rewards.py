"""The reward functions of a run, with TRL's signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apportion.config import RunConfig
from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.tasks import Task
from apportion.trace import Problem

RewardFunction = Callable[..., list[float | None]]


def reward_functions(
    config: RunConfig, task: Task, policy: LanguageModelPolicy, problems: list[Problem]
) -> list[RewardFunction]:
    """What ``config.reward`` asks for. ``problems`` are those of training, so that what cannot be
    rewarded is refused before anything is sampled.

    Each is called with ``prompts``, ``completions``, ``completion_ids`` and the dataset's columns
    as keywords, and returns a number for each completion, or None where it is undecided. Raises
    UserError where the kind does not fit the task or the policy.
    """
    kind = config.reward.kind
    if kind == "outcome":
        return [outcome_reward(task)]
    if kind == "likelihood":
        return [_likelihood_reward(config, policy, problems)]
    return _model_rewards(config, task, policy)


def reward_weights(config: RunConfig) -> list[float] | None:
    """What the outcome weighs of each of ``reward_functions``; None: all alike."""
    return [1.0, 0.0] if config.reward.kind == "model" else None


def _model_rewards(
    config: RunConfig, task: Task, policy: LanguageModelPolicy
) -> list[RewardFunction]:
    from apportion.policies.reward_model import RewardModel
    from apportion.train.grpo.model_reward import GoldReward, ProxyReward

    if config.imitation.chains != "none":
        raise UserError(
            "imitation.chains picks chains by their right outcome, and a reward model's score is "
            "none: use reward.kind outcome, or imitation.chains none"
        )
    model = RewardModel.load(config.reward.path or "")
    model.model.to(policy.model.device)
    return [ProxyReward(model, task.reasoning_end), GoldReward(task)]


def _likelihood_reward(
    config: RunConfig, policy: LanguageModelPolicy, problems: list[Problem]
) -> RewardFunction:
    from apportion.credit.likelihood import load_form
    from apportion.train.likelihood.reward import LikelihoodReward

    options = config.reward
    if config.imitation.chains != "none":
        raise UserError(
            "imitation.chains picks chains by their outcome, and reward.kind likelihood has none: "
            "use reward.kind outcome, or imitation.chains none"
        )
    reward = LikelihoodReward(
        policy,
        load_form(options.form, references=options.references),
        group_size=config.train.group_size,
        marker=options.marker,
        scale=config.train.scale_rewards,
        answer_term=options.answer_term,
    )
    reward.check(problems, config.train.max_completion_tokens)
    return reward


def outcome_reward(task: Task) -> RewardFunction:
    """The task's score of each completion."""

    def outcome(completions: list[Any], problem: list[str], **_: Any) -> list[float | None]:
        parsed = [Problem.model_validate_json(text) for text in problem]
        texts = texts_of(completions)
        return [task.score(p, text) for p, text in zip(parsed, texts, strict=True)]

    return outcome


def texts_of(completions: list[Any]) -> list[str]:
    """The text of each completion: text as it is, or the content of a chat's one message."""
    return [c if isinstance(c, str) else c[0]["content"] for c in completions]
