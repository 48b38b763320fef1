"""Rewards from a learned reward model, beside the task's own score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from apportion.policies.reward_model import Answered, RewardModel
from apportion.tasks import Task
from apportion.trace import Problem


class ProxyReward:
    """A reward function with TRL's signature: what the reward model thinks of each completion.

    ``reasoning_end`` maps a completion to the offset where its reasoning stops. Raises UserError
    for a score that is not finite.
    """

    __name__ = "proxy"

    def __init__(self, model: RewardModel, reasoning_end: Callable[[str], int]) -> None:
        self._model, self._reasoning_end = model, reasoning_end

    def __call__(
        self, completions: Sequence[Any], problem: Sequence[str], **_: Any
    ) -> list[float | None]:
        texts = [c if isinstance(c, str) else c[0]["content"] for c in completions]
        return list(
            self._model.score(
                [
                    Answered(Problem.model_validate_json(p), text, self._reasoning_end(text))
                    for p, text in zip(problem, texts, strict=True)
                ]
            )
        )


class GoldReward:
    """The task's score of each completion, watched and not trained on."""

    __name__ = "gold"

    def __init__(self, task: Task) -> None:
        self._task = task

    def __call__(
        self, completions: Sequence[Any], problem: Sequence[str], **_: Any
    ) -> list[float | None]:
        texts = [c if isinstance(c, str) else c[0]["content"] for c in completions]
        return [
            self._task.score(Problem.model_validate_json(p), text)
            for p, text in zip(problem, texts, strict=True)
        ]
