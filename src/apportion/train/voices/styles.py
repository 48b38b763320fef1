"""Trains reviewer tokens: a prompt with a reviewer's token gives chains that this reviewer likes.

The rollouts that a policy learns from carry the token of the reviewers that agreed most with
their credit, so that the token comes to stand for what those reviewers reward.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from apportion.config.voices import ReviewerTokensConfig
from apportion.credit import Method
from apportion.credit.agreement import closest, reviewer_agreement
from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.policies.reviewer_token import tokens_for
from apportion.review.base import Reviewer
from apportion.review.panel import Item, review_now
from apportion.segment import segment
from apportion.stats import Estimate, paired_bootstrap, share
from apportion.tasks import Task
from apportion.trace import Problem, Review, Rollout
from apportion.train.measure.evaluate import sample_scored
from apportion.train.supervised import Row, fit
from apportion.train.voices.reviewer_tokens import add_reviewer_tokens

NO_TOKEN = "none"
Say = Callable[[str], None]


def train_styles(
    policy: LanguageModelPolicy,
    task: Task,
    reviewers: Sequence[Reviewer],
    method: Method,
    config: ReviewerTokensConfig,
    *,
    voting: Mapping[str, Any] | None = None,
    segmenter: str = "line",
    max_tokens: int = 128,
    temperature: float = 1.0,
    seed: int = 0,
    say: Say = lambda line: None,
) -> dict[str, Estimate | float | None]:
    """Train the tokens of all reviewers into the policy, in place, and measure what they do.

    ``tokens/accuracy_before`` and ``tokens/accuracy_after``: greedy, no token; ``_change`` is their
    difference in pairs. ``tokens/TOKEN/REVIEWER``: of the completions sampled under TOKEN (or
    ``none``) those in which REVIEWER finds every step useful. ``tokens/TOKEN/accuracy``: those
    that are right. ``tokens/learned/REVIEWER``: share of the learned completions that carried the
    reviewer's token.

    Raises UserError for fewer than two reviewers, and where no completion is fit to learn from.
    """
    if len(reviewers) < 2:
        raise UserError("objective reviewer_tokens: name at least two reviewers: they differ")
    if config.gold_updates:
        _imitate_gold(policy, task, config, seed, say)
    held_out = task.problems("validation", config.held_out, seed)
    right_before = _greedy(policy, task, held_out, max_tokens)
    how = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    problems = task.problems("train", config.problems, seed)
    sampled = sample_scored(policy, task, problems, n=config.group_size, **how)
    learned = [
        rollout for rollout in sampled if rollout.outcome is not None and rollout.outcome > 0.5
    ]
    reviews = _review(reviewers, learned, segmenter)
    names = _names(learned, reviews, method, voting, config)
    if not any(names):
        raise UserError(
            f"objective reviewer_tokens: of {len(sampled)} sampled completions none was right and "
            "had a nearest reviewer: take a policy that solves some problems, or ties: all"
        )
    say(f"{len(learned)} of {len(sampled)} completions are right; tokens: {_counts(names)}")
    add_reviewer_tokens(policy.model, policy.tokenizer, [r.name for r in reviewers])
    fit(
        policy.model,
        policy.tokenizer,
        _rows(policy, learned, names, config.bare, seed),
        updates=config.updates,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        seed=seed,
        say=say,
    )
    right_after = _greedy(policy, task, held_out, max_tokens)
    metrics: dict[str, Estimate | float | None] = {
        "tokens/accuracy_before": share(sum(right_before.values()), len(right_before)),
        "tokens/accuracy_after": share(sum(right_after.values()), len(right_after)),
        "tokens/accuracy_change": paired_bootstrap(right_before, right_after),
    }
    for reviewer in reviewers:
        carried = sum(reviewer.name in of_one for of_one in names)
        metrics[f"tokens/learned/{reviewer.name}"] = share(carried, sum(map(bool, names)))
    for token in (NO_TOKEN, *(reviewer.name for reviewer in reviewers)):
        metrics |= _lean(policy, task, reviewers, held_out, token, config, segmenter, max_tokens,
                         temperature, seed)  # fmt: skip
    return metrics


def _imitate_gold(
    policy: LanguageModelPolicy, task: Task, config: ReviewerTokensConfig, seed: int, say: Say
) -> None:
    problems = task.problems("train", config.gold_updates * config.batch_size, seed + 1)
    rows = []
    for problem in problems:
        gold = task.gold_completion(problem)
        if gold is None:
            raise UserError(
                f"task {task.name}: problem {problem.id} has no gold solution: set gold_updates: 0"
            )
        rows.append(Row(policy.prompt_ids(problem), _completion_ids(policy, gold)))
    fit(
        policy.model,
        policy.tokenizer,
        rows,
        updates=config.gold_updates,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        seed=seed,
        say=say,
    )


def _completion_ids(policy: LanguageModelPolicy, text: str) -> list[int]:
    ids = policy.tokenizer(text, add_special_tokens=False)["input_ids"]
    return [*ids, policy.tokenizer.eos_token_id]


def _greedy(
    policy: LanguageModelPolicy, task: Task, problems: Sequence[Problem], max_tokens: int
) -> dict[str, float]:
    """Problem id to whether the greedy completion is right; undecided ones are left out."""
    rollouts = sample_scored(policy, task, problems, temperature=0.0, max_tokens=max_tokens)
    return {r.problem.id: float(r.outcome > 0.5) for r in rollouts if r.outcome is not None}


def _review(
    reviewers: Sequence[Reviewer], rollouts: Sequence[Rollout], segmenter: str
) -> list[list[Review]]:
    items = [
        Item(r.problem, r.text, segment(r.text, r.reasoning_end, segmenter), r.outcome, r.id)
        for r in rollouts
    ]
    return review_now(reviewers, items) if items else []


def _names(
    rollouts: Sequence[Rollout],
    reviews: Sequence[Sequence[Review]],
    method: Method,
    voting: Mapping[str, Any] | None,
    config: ReviewerTokensConfig,
) -> list[tuple[str, ...]]:
    """Whose tokens each rollout gets; none where no review succeeded, or a tie is skipped."""
    nearest = map(closest, reviewer_agreement(rollouts, reviews, method, voting=voting))
    return [() if config.ties == "skip" and len(names) > 1 else names for names in nearest]


def _counts(names: Sequence[tuple[str, ...]]) -> str:
    counts = Counter("+".join(of_one) or "none" for of_one in names)
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


def _rows(
    policy: LanguageModelPolicy,
    rollouts: Sequence[Rollout],
    names: Sequence[tuple[str, ...]],
    bare: float,
    seed: int,
) -> list[Row]:
    """Each rollout with its tokens in front, and about a share ``bare`` of all rows without.

    Every combination of tokens has the same weight in all, however seldom it is earned.
    """
    rng = random.Random(seed)
    rows = []
    counts = Counter(of_one for of_one in names if of_one)
    for rollout, of_one in zip(rollouts, names, strict=True):
        completion = list(rollout.token_ids)
        if of_one:
            weight = counts.total() / (len(counts) * counts[of_one])
            rows.append(Row(_prompt(policy, rollout.problem, of_one), completion, weight))
            if rng.random() < bare / (1 - bare):
                rows.append(Row(_prompt(policy, rollout.problem, ()), completion))
    return rows


def _prompt(policy: LanguageModelPolicy, problem: Problem, names: Sequence[str]) -> list[int]:
    tokens_for(policy.tokenizer, names)
    before, policy.reviewer_tokens = policy.reviewer_tokens, tuple(names)
    try:
        return policy.prompt_ids(problem)
    finally:
        policy.reviewer_tokens = before


def _lean(
    policy: LanguageModelPolicy,
    task: Task,
    reviewers: Sequence[Reviewer],
    problems: Sequence[Problem],
    token: str,
    config: ReviewerTokensConfig,
    segmenter: str,
    max_tokens: int,
    temperature: float,
    seed: int,
) -> dict[str, Estimate | None]:
    """What the policy writes under one token, and how each reviewer likes it."""
    how = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    policy.reviewer_tokens = () if token == NO_TOKEN else (token,)
    try:
        rollouts = sample_scored(policy, task, problems, n=config.samples, **how)
    finally:
        policy.reviewer_tokens = ()
    table = _review(reviewers, rollouts, segmenter)
    known = [rollout.outcome > 0.5 for rollout in rollouts if rollout.outcome is not None]
    metrics = {f"tokens/{token}/accuracy": share(sum(known), len(known))}
    for reviewer in reviewers:
        reviews = [r for of_one in table for r in of_one if r.reviewer == reviewer.name and r.ok]
        liked = sum(_liked(review) for review in reviews)
        metrics[f"tokens/{token}/{reviewer.name}"] = share(liked, len(reviews))
    return metrics


def _liked(review: Review) -> bool:
    """Whether the reviewer finds every step of the chain useful."""
    return bool(review.verdicts) and all(verdict.label == "useful" for verdict in review.verdicts)
