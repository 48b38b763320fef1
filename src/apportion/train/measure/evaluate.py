"""Held-out measurements. Every number carries its n and a 95 % interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from apportion.config import RunConfig
from apportion.policies.base import Policy
from apportion.review import load_reviewer
from apportion.review.panel import Item, review_now
from apportion.segment import segment
from apportion.stats import Estimate, mean, pass_at_k, share, stratified_bootstrap
from apportion.tasks import Task
from apportion.trace import Problem, Review, Rollout
from apportion.train.measure.latent_figures import latent_figures

_HEADLINES = {
    "eval/accuracy": "accuracy {:.3f}",
    "eval/answer_logprob": "log p(reference) {:.2f}",
    "eval/length": "{:.1f} tokens a completion",
}


@dataclass(frozen=True)
class Evaluation:
    """``metrics`` maps a name of docs/metrics.md to an Estimate; the greedy rollouts and their
    exact reviews are kept for whoever wants to look."""

    metrics: dict[str, Estimate]
    rollouts: list[Rollout]
    reviews: list[Review]

    def value(self, name: str) -> float:
        return self.metrics[name].value

    def headline(self) -> str:
        """The one figure of a progress line: accuracy, or what there is without a grader."""
        for name, text in _HEADLINES.items():
            if name in self.metrics:
                return text.format(self.value(name))
        return "nothing measured"

    def as_json(self) -> dict[str, Any]:
        return as_json(self.metrics)


def as_json(metrics: Mapping[str, Estimate]) -> dict[str, Any]:
    """Metrics as a line of metrics.jsonl holds them."""
    return {
        name: {"value": e.value, "n": e.n, "low": e.low, "high": e.high}
        for name, e in metrics.items()
    }


def score_rollouts(task: Task, rollouts: Sequence[Rollout]) -> list[Rollout]:
    """The rollouts with their outcome filled in: frozen here, before anyone reviews."""
    return [
        rollout.model_copy(update={"outcome": task.score(rollout.problem, rollout.text)})
        for rollout in rollouts
    ]


def sample_scored(
    policy: Policy, task: Task, problems: Sequence[Problem], **how: Any
) -> list[Rollout]:
    """Completions with their outcome; ``how`` they are drawn is said as to Policy.sample."""
    return score_rollouts(task, policy.sample(problems, reasoning_end=task.reasoning_end, **how))


def answer_marker(config: RunConfig) -> str | None:
    """What :func:`evaluate` takes: None where ``eval.answer_logprob`` is off."""
    return config.reward.marker if config.eval.answer_logprob else None


def exact_reviewer(problems: Sequence[Problem]) -> str:
    """``gold`` where the task knows its steps, else ``arithmetic``."""
    return "gold" if all(problem.meta.get("steps") for problem in problems) else "arithmetic"


def evaluate(
    policy: Policy,
    task: Task,
    problems: Sequence[Problem],
    *,
    samples: int = 0,
    ks: Sequence[int] = (1, 4),
    max_tokens: int = 128,
    temperature: float = 1.0,
    segmenter: str = "line",
    seed: int = 0,
    answer_marker: str | None = None,
) -> Evaluation:
    """Greedy accuracy, step errors by the exact reviewer, length; pass@k where ``samples`` > 0.

    With ``answer_marker``, which begins the answer's line, also how likely the references are after
    the greedy chain (``train.answer_logprob``). Problems whose gold answer cannot be read are left
    out of every share; where no completion can be graded, lengths are those of all.
    """
    rollouts = sample_scored(policy, task, problems, temperature=0.0, max_tokens=max_tokens)
    known = [rollout for rollout in rollouts if rollout.outcome is not None]
    reviews = _exact_reviews(known, segmenter)
    metrics = _shares(known, reviews) | _sizes(known or rollouts, segmenter) | latent_figures(known)
    if answer_marker is not None:
        from apportion.train.measure.answer_logprob import answer_logprob

        metrics |= answer_logprob(policy, rollouts, marker=answer_marker)
    if samples > 0:
        how = {"n": samples, "temperature": temperature, "max_tokens": max_tokens}
        sampled = sample_scored(policy, task, problems, seed=seed + 1, **how)
        metrics |= _pass_at(sampled, samples, ks)
    return Evaluation({k: v for k, v in metrics.items() if v is not None}, rollouts, reviews)


def greedy_accuracy(
    policy: Policy, task: Task, problems: Sequence[Problem], *, max_tokens: int = 128
) -> float:
    """Share of problems that the greedy completion solves."""
    rollouts = sample_scored(policy, task, problems, temperature=0.0, max_tokens=max_tokens)
    known = [r.outcome for r in rollouts if r.outcome is not None]
    return float(np.mean([outcome > 0.5 for outcome in known])) if known else 0.0


def _exact_reviews(rollouts: Sequence[Rollout], segmenter: str) -> list[Review]:
    if not rollouts:
        return []
    reviewer = load_reviewer(exact_reviewer([r.problem for r in rollouts]))
    items = [
        Item(r.problem, r.text, segment(r.text, r.reasoning_end, segmenter), r.outcome, r.id)
        for r in rollouts
    ]
    return [reviews[0] for reviews in review_now([reviewer], items)]


def _shares(rollouts: Sequence[Rollout], reviews: Sequence[Review]) -> dict[str, Estimate | None]:
    right = [bool(rollout.outcome and rollout.outcome > 0.5) for rollout in rollouts]
    flawed = [any(v.wrong for v in review.verdicts) for review in reviews]
    verdicts = [v.wrong for review in reviews for v in review.verdicts if not v.abstains]
    lucky = sum(r and f for r, f in zip(right, flawed, strict=True))
    return {
        "eval/accuracy": share(sum(right), len(right)),
        "eval/step_error_rate": share(sum(verdicts), len(verdicts)),
        "eval/right_with_wrong_step": share(lucky, sum(right)),
    }


def _sizes(rollouts: Sequence[Rollout], segmenter: str) -> dict[str, Estimate | None]:
    lengths = [float(len(r.token_ids)) for r in rollouts]
    steps = [float(len(segment(r.text, r.reasoning_end, segmenter))) for r in rollouts]
    separators = [float(r.text[: r.reasoning_end].count("\n")) for r in rollouts]
    unfinished = share(sum(r.finish == "length" for r in rollouts), len(rollouts))
    return {
        "eval/length": _average(lengths),
        "eval/steps": _average(steps),
        "eval/separators": _average(separators),
        "eval/unfinished": unfinished,
    }


def _average(values: Sequence[float]) -> Estimate | None:
    return stratified_bootstrap(values, statistic=mean) if values else None


def _pass_at(
    rollouts: Sequence[Rollout], samples: int, ks: Sequence[int]
) -> dict[str, Estimate | None]:
    groups = [rollouts[i : i + samples] for i in range(0, len(rollouts), samples)]
    correct = [
        sum(bool(r.outcome and r.outcome > 0.5) for r in group)
        for group in groups
        if group[0].outcome is not None
    ]
    return {
        f"eval/pass@{k}": _average([pass_at_k(samples, c, k) for c in correct])
        for k in ks
        if k <= samples
    }
