"""What a set of weights is worth: by sampling and grading, or by the likelihood of references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import torch

from apportion.config import RunConfig
from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.policies.stacked import StackedWeights
from apportion.tasks import Task
from apportion.trace import Problem, Rollout
from apportion.train.evolution.references import Logits, Reference, log_likelihood, reference_rows


class Fitness(NamedTuple):
    """``reward`` of a set of weights; ``tokens`` that it read or wrote; sampled rollouts, if any"""

    reward: float
    tokens: int
    length: float
    rollouts: Sequence[Rollout] = ()


class Reward(Protocol):
    """``one`` takes the model's own weights, ``many`` stacked ones (P, *shape) by name."""

    def one(self, problems: Sequence[Problem], update: int) -> Fitness: ...

    def many(
        self, stack: Mapping[str, torch.Tensor], problems: Sequence[Problem], update: int
    ) -> list[Fitness]: ...


def load_reward(config: RunConfig, policy: LanguageModelPolicy, task: Task, seed: int) -> Reward:
    """The reward of ``evolution.reward``."""
    if config.evolution.reward == "likelihood":
        return LikelihoodReward(policy, task, config)
    return OutcomeReward(policy, task, config, seed)


class OutcomeReward:
    """Mean score of completions: greedy, or ``evolution.samples`` of each problem.

    All perturbations of an update sample with the same random numbers, so that they differ by
    their weights alone. Problems whose score is undecidable are left out; raises UserError where
    all are.
    """

    def __init__(
        self, policy: LanguageModelPolicy, task: Task, config: RunConfig, seed: int
    ) -> None:
        self._policy, self._task, self._seed = policy, task, seed
        self._stacked = StackedWeights(policy)
        self._samples = max(1, config.evolution.samples)
        self._temperature = config.train.temperature if config.evolution.samples else 0.0
        self._max_tokens = config.train.max_completion_tokens

    def one(self, problems: Sequence[Problem], update: int) -> Fitness:
        asked, prompts = self._asked(problems)
        with torch.random.fork_rng():
            torch.manual_seed(self._random(update))
            found = self._policy.generate_ids(prompts, self._temperature, self._max_tokens)
        return self._graded(asked, prompts, found, update)

    def many(
        self, stack: Mapping[str, torch.Tensor], problems: Sequence[Problem], update: int
    ) -> list[Fitness]:
        asked, prompts = self._asked(problems)
        found = self._stacked.generate(
            stack, prompts, self._temperature, self._max_tokens, self._random(update)
        )
        return [self._graded(asked, prompts, of_one, update) for of_one in found]

    def _asked(self, problems: Sequence[Problem]) -> tuple[list[Problem], list[list[int]]]:
        asked = [problem for problem in problems for _ in range(self._samples)]
        return asked, [self._policy.prompt_ids(problem) for problem in asked]

    def _random(self, update: int) -> int:
        return self._seed * 1_000_003 + update

    def _graded(
        self,
        problems: Sequence[Problem],
        prompts: Sequence[Sequence[int]],
        completions: Sequence[Sequence[int]],
        update: int,
    ) -> Fitness:
        rollouts = []
        for index, (problem, ids) in enumerate(zip(problems, completions, strict=True)):
            text = self._policy.tokenizer.decode(ids, skip_special_tokens=True)
            rollouts.append(
                Rollout(
                    id=f"u{update}/{index}",
                    problem=problem,
                    text=text,
                    outcome=self._task.score(problem, text),
                    reasoning_end=self._task.reasoning_end(text),
                    policy=self._policy.name,
                    group=f"u{update}/{problem.id}",
                    update=update,
                )
            )
        scores = [r.outcome for r in rollouts if r.outcome is not None]
        if not scores:
            raise UserError(
                f"update {update}: no problem of the batch has a gold answer to score against"
            )
        written = sum(len(ids) for ids in completions)
        return Fitness(
            reward=sum(scores) / len(scores),
            tokens=written + sum(len(ids) for ids in prompts),
            length=written / len(completions),
            rollouts=rollouts,
        )


class LikelihoodReward:
    """Mean log-probability of the references, summed over their tokens; nothing is sampled."""

    def __init__(self, policy: LanguageModelPolicy, task: Task, config: RunConfig) -> None:
        self._policy, self._task = policy, task
        self._which: Reference = config.evolution.reference
        self._stacked = StackedWeights(policy)

    @torch.no_grad()
    def one(self, problems: Sequence[Problem], update: int) -> Fitness:
        model = self._policy.model
        model.eval()
        return self._measure(lambda ids_BT: model(input_ids=ids_BT).logits[None], problems)[0]

    def many(
        self, stack: Mapping[str, torch.Tensor], problems: Sequence[Problem], update: int
    ) -> list[Fitness]:
        return self._measure(lambda ids_BT: self._stacked.logits(stack, ids_BT), problems)

    def _measure(self, logits: Logits, problems: Sequence[Problem]) -> list[Fitness]:
        rows = reference_rows(self._policy, self._task, problems, self._which)
        found_PB = log_likelihood(
            logits, rows, self._policy.tokenizer.pad_token_id, self._policy.model.device
        )
        read = sum(len(row.question) + len(row.reference) for row in rows)
        length = sum(len(row.reference) for row in rows) / len(rows)
        return [Fitness(reward, read, length) for reward in found_PB.mean(-1).tolist()]
