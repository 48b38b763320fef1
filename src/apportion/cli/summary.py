"""What a review found and cost, in a few lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apportion.cli.console import plural
from apportion.consensus import Case, consensus_of_many
from apportion.trace import Consensus, Review, Rollout, Usage


def review_summary(
    rollouts: Sequence[Rollout], reviews: Iterable[Review], voting: Mapping[str, Any]
) -> list[str]:
    """Lines: how many traces and how many of them right; how many right answers hold a step that
    the reviewers agree is wrong; how many reviews failed; what they cost."""
    reviews = list(reviews)
    reviews_of: dict[str, list[Review]] = defaultdict(list)
    for review in reviews:
        reviews_of[review.rollout_id].append(review)
    right = [r for r in rollouts if r.outcome is not None and r.outcome >= 0.5]
    decided = sum(r.outcome is not None for r in rollouts)
    cases = [Case(r.id, reviews_of[r.id], r.reasoning_end) for r in rollouts]
    voted = {agreed.rollout_id: agreed for agreed in consensus_of_many(cases, **voting)}
    wrong_steps = [_wrong_steps(voted[r.id]) for r in right]
    judged = [count for count in wrong_steps if count is not None]
    lucky = sum(count > 0 for count in judged)
    lines = [f"{plural(len(rollouts), 'trace')}, {len(right):,} of {decided:,} scored ones right"]
    if judged:
        lines.append(
            f"right answers that hold a wrong step: {lucky:,} of {len(judged):,} reviewed "
            f"({lucky / len(judged):.1%})"
        )
    failed = [review for review in reviews if not review.ok]
    lines.append(f"{plural(len(reviews), 'review')}, {len(failed):,} failed" + _why(failed))
    spent = Spent()
    for review in reviews:
        spent.add(review.usage)
    return [*lines, spent.line()]


def _wrong_steps(agreed: Consensus) -> int | None:
    """Agreed wrong steps of one rollout; None where no reviewer gave a verdict."""
    if not any(step.votes for step in agreed.steps):
        return None
    return sum(step.status == "agreed" and step.wrong >= 0.5 for step in agreed.steps)


def _why(failed: Sequence[Review]) -> str:
    if not failed:
        return ""
    counts: dict[str, int] = defaultdict(int)
    for review in failed:
        counts[review.error or ""] += 1
    most = max(counts, key=lambda error: counts[error])
    return f", most often: {most[:160]}"


@dataclass
class Spent:
    """Running total of what reviews cost. Money is unpriced where any call has no known price."""

    calls: int = 0
    tokens: int = 0
    usd: float = 0.0
    unpriced: bool = False
    cached: int = 0

    def add(self, usage: Usage) -> None:
        self.cached += usage.cached
        self.calls += usage.calls
        self.tokens += usage.prompt_tokens + usage.completion_tokens
        self.usd += usage.usd or 0.0
        self.unpriced |= usage.calls > 0 and usage.usd is None

    @property
    def money(self) -> str:
        return "unpriced" if self.unpriced else f"${self.usd:.4f}"

    def short(self) -> str:
        """For a progress line; empty while nothing was paid."""
        return f"{self.tokens:,} tokens, {self.money}" if self.calls else ""

    def line(self) -> str:
        cached = f", {plural(self.cached, 'review')} from the cache" if self.cached else ""
        if self.calls == 0:
            return f"cost: no calls{cached}"
        calls, tokens = plural(self.calls, "call"), plural(self.tokens, "token")
        return f"cost: {calls}, {tokens}, {self.money}{cached}"
