"""A few traces of the trained policy, reviewed, with the credit of every method side by side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from apportion.config import RunConfig
from apportion.consensus import disputed_spans
from apportion.credit import METHODS, load_method
from apportion.credit.apply import credit_rollouts
from apportion.policies.language_model import LanguageModelPolicy
from apportion.records import RunDirectory
from apportion.review import load_reviewer
from apportion.review.binding import bind_policy
from apportion.review.cache import ReviewCache
from apportion.review.cross_examine import review_in_rounds_now
from apportion.review.panel import Item
from apportion.segment import segment
from apportion.tasks import Task
from apportion.train.grpo.signals import SignalSource, load_signals
from apportion.train.measure.evaluate import sample_scored


def write_showcase(
    config: RunConfig,
    seed: int,
    task: Task,
    policy: LanguageModelPolicy,
    directory: RunDirectory,
    update: int,
    cache: ReviewCache | None = None,
    signals: Sequence[SignalSource] = (),
) -> None:
    """Sample ``eval.showcase`` groups of held-out problems and record them under all methods.

    ``signals`` are the sources that training used, with what they learned (default: new ones)."""
    if not config.eval.showcase:
        return
    problems = task.problems(config.eval.final_split, config.eval.showcase, config.eval.seed)
    sampled = sample_scored(
        policy,
        task,
        problems,
        n=config.train.group_size,
        temperature=config.train.temperature,
        max_tokens=config.train.max_completion_tokens,
        seed=seed,
    )
    rollouts = [r.model_copy(update={"update": update}) for r in sampled]
    cuts = {r.id: segment(r.text, r.reasoning_end, config.segment) for r in rollouts}
    for source in signals or load_signals(config, task, policy):
        rollouts = source.measure(rollouts, [cuts[r.id] for r in rollouts]).rollouts
    items = [Item(r.problem, r.text, cuts[r.id], r.outcome, r.id) for r in rollouts]
    reviewers = [load_reviewer(spec, cache=cache) for spec in config.reviewers]
    bind_policy(reviewers, policy)
    disputed = partial(disputed_spans, **config.consensus.model_dump())
    said = review_in_rounds_now(reviewers, items, rounds=config.cross_examine, disputed=disputed)
    reviews = [r for of_one in said for r in of_one]
    directory.append("rollouts", *rollouts)
    directory.append("reviews", *reviews)
    own = config.credit.get("method", "outcome")
    for name in METHODS:
        method = load_method(config.credit if name == own else name)
        if not set(method.needs) <= set(rollouts[0].signals):
            continue  # measured only where the run's own method needs it
        credits = credit_rollouts(
            rollouts,
            reviews,
            method,
            name=name,
            voting=config.consensus.model_dump(),
            scale=config.train.scale_rewards,
            seed=seed,
            cuts=cuts,
        )
        directory.append("credit", *credits)
