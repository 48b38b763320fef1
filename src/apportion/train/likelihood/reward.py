"""Rewards from the likelihood of reference answers, for ``CreditGRPOTrainer``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from apportion.credit.base import EPSILON
from apportion.credit.likelihood import Form, Scored, Weights
from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.policies.scoring import score_tokens
from apportion.trace import Problem
from apportion.train.likelihood.boundary import Boundary, Spliced, references_of, trained_tokens
from apportion.train.rows import problem_of_row


@dataclass(frozen=True)
class ScoredBatch:
    """What the trainer needs of one generation, a list item for each completion of this process.

    ``advantages_B`` multiply grad log p of the first ``trained_B`` tokens; ``weights_BK`` multiply
    grad log p of the answers in ``spliced_B``.
    """

    advantages_B: list[float]
    trained_B: list[int]
    spliced_B: list[Spliced]
    weights_BK: list[list[float]]
    metrics: dict[str, float]


class LikelihoodReward:
    """A reward function with TRL's signature: what the policy makes of the reference answers after
    its own reasoning, in one forward pass.

    ``form`` is one of ``credit.likelihood.FORMS``; ``group_size`` completions in a row belong to
    one prompt. ``scale`` "group" divides the advantages of a group by the standard deviation of
    its rewards, which the exact gradient does not have. ``answer_term`` False leaves the supervised
    term out. The trainer finds this function among its rewards and takes advantages, the end of
    the reasoning and the answer term from it.

    Rows carry their references as ``problem`` (JSON), ``answer``, ``answers``, ``solution`` or
    ``ground_truth``. A problem without references is undecided. Raises UserError for an empty
    reference, for reasoning and reference that exceed the context, and where a process does not
    hold whole groups.
    """

    __name__ = "likelihood"

    def __init__(
        self,
        policy: LanguageModelPolicy,
        form: Form,
        *,
        group_size: int,
        marker: str = "####",
        scale: Literal["group", "none"] = "none",
        answer_term: bool = True,
        batch_size: int = 64,
    ) -> None:
        self.answer_term = answer_term
        self._policy, self._form = policy, form
        self._group_size, self._scale = group_size, scale
        self._batch_size = batch_size
        self._boundary = Boundary(policy, marker)
        self._scored: ScoredBatch | None = None

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]],
        **columns: Any,
    ) -> list[float | None]:
        problems = _problems(prompts, columns)
        self._check_groups(problems)
        pairs = zip(problems, completion_ids, strict=True)
        spliced = [self._boundary.splice(ids, references_of(p.answers)) for p, ids in pairs]
        scored = self._score(problems, spliced)
        groups = [scored[i : i + self._group_size] for i in range(0, len(scored), self._group_size)]
        weights = [self._weigh(group) for group in groups]
        rewards = np.concatenate([w.rewards_G for w in weights])
        self._scored = ScoredBatch(
            advantages_B=np.concatenate([w.advantages_G for w in weights]).tolist(),
            trained_B=[
                trained_tokens(s, ids) for s, ids in zip(spliced, completion_ids, strict=True)
            ],
            spliced_B=spliced,
            weights_BK=[row for w in weights for row in w.answers_GK.tolist()],
            metrics=_metrics(spliced, scored),
        )
        return [None if np.isnan(reward) else float(reward) for reward in rewards]

    def take(self) -> ScoredBatch:
        """What the last call found out; once."""
        if self._scored is None:
            raise RuntimeError("no completions have been scored")
        scored, self._scored = self._scored, None
        return scored

    def check(self, problems: Sequence[Problem], max_completion_tokens: int) -> None:
        """Raises UserError for a reference that is empty or cannot fit into the context."""
        check_references(self._policy, self._boundary, problems, max_completion_tokens)

    # -- helpers ---------------------------------------------------------------------------------

    def _check_groups(self, problems: Sequence[Problem]) -> None:
        size = self._group_size
        ids = [problem.id for problem in problems]
        if len(ids) % size or any(ids[i] != ids[i - i % size] for i in range(len(ids))):
            raise UserError(
                f"reward likelihood: this process holds {len(problems)} completions that are no "
                f"whole groups of {size} of one prompt: give each process whole groups "
                "(train.micro_batch)"
            )

    def _score(self, problems: Sequence[Problem], spliced: Sequence[Spliced]) -> list[Scored]:
        """Log-probabilities of every reference after every reasoning, and once without any."""
        policy = self._policy
        prompts = [policy.prompt_ids(problem) for problem in problems[:: self._group_size]]
        blanks = [
            self._boundary.without_reasoning(references_of(problem.answers))
            for problem in problems[:: self._group_size]
        ]
        before, after = [], []
        for b, one in enumerate(spliced):
            for answer in one.answers:
                before.append([*prompts[b // self._group_size], *one.kept])
                after.append(answer)
        for prompt, blank in zip(prompts, blanks, strict=True):
            for answer in blank.answers:
                before.append([*prompt, *blank.kept])
                after.append(answer)
        pad = policy.tokenizer.pad_token_id
        logps = score_tokens(policy.model, pad, before, after, batch_size=self._batch_size)
        numbers = iter([row.double().cpu().numpy() for row in logps])
        reasoned = [tuple(next(numbers) for _ in one.answers) for one in spliced]
        without = [tuple(next(numbers) for _ in blank.answers) for blank in blanks]
        return [
            Scored(logps_KT, without[b // self._group_size], one.answered)
            for b, (logps_KT, one) in enumerate(zip(reasoned, spliced, strict=True))
        ]

    def _weigh(self, group: Sequence[Scored]) -> Weights:
        if not group[0].logps_KT:
            nothing = np.zeros(len(group))
            return Weights(nothing + np.nan, nothing, np.zeros((len(group), 0)))
        weights = self._form.weigh(group)
        advantages_G, answers_GK = weights.advantages_G, weights.answers_GK
        if self._scale == "group":
            advantages_G = advantages_G / (weights.rewards_G.std(ddof=1) + EPSILON)
        if not self.answer_term:
            answers_GK = np.zeros_like(answers_GK)
        return Weights(weights.rewards_G, advantages_G, answers_GK)


def check_references(
    policy: LanguageModelPolicy,
    boundary: Boundary,
    problems: Sequence[Problem],
    max_completion_tokens: int,
) -> None:
    """Raises UserError where no problem has a reference, one is empty, or prompt, completion and
    the longest reference exceed the context."""
    context = getattr(policy.model.config, "max_position_embeddings", None)
    if not any(problem.answers for problem in problems):
        raise UserError("task: none of its problems has a reference answer to be likely")
    for problem in problems:
        references = references_of(problem.answers)
        if not references:
            continue
        if not all(references):
            raise UserError(
                f"problem {problem.id}: a reference answer is empty: take it out of the data"
            )
        prompt, longest = len(policy.prompt_ids(problem)), boundary.longest(references)
        if context and prompt + max_completion_tokens + longest > context:
            raise UserError(
                f"problem {problem.id}: prompt of {prompt} tokens, reasoning of up to "
                f"{max_completion_tokens} and a reference of {longest} exceed the context of "
                f"{context}: lower train.max_completion_tokens or shorten the reference"
            )


def _problems(prompts: Sequence[Any], columns: dict[str, Any]) -> list[Problem]:
    lists = {
        name: values
        for name, values in columns.items()
        if isinstance(values, list) and len(values) == len(prompts)
    }
    rows = [{name: values[b] for name, values in lists.items()} for b in range(len(prompts))]
    return [problem_of_row({"prompt": p, **row}) for p, row in zip(prompts, rows, strict=True)]


def _metrics(spliced: Sequence[Spliced], scored: Sequence[Scored]) -> dict[str, float]:
    """Means over this process's completions; docs/metrics.md explains each."""
    metrics = {
        "likelihood/chain_tokens": float(np.mean([one.reasoning for one in spliced])),
        "likelihood/empty_chains": float(np.mean([one.empty for one in spliced])),
        "likelihood/unanswered": float(np.mean([not one.answered for one in spliced])),
    }
    known = [one for one in scored if one.logps_KT]
    if known:
        reasoned = float(np.mean([one.logps_K.mean() for one in known]))
        blank = float(np.mean([np.mean([row.sum() for row in one.blank_KT]) for one in known]))
        metrics |= {
            "likelihood/answer_logprob": reasoned,
            "likelihood/reasoning_gain": reasoned - blank,
        }
    return metrics
