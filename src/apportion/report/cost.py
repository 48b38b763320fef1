"""What reviewing cost: tokens, time and money for each token that got credit, and how it grows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from apportion.errors import UserError
from apportion.report.data import load_run
from apportion.segment.answer_line import word_spans
from apportion.stats import SEED
from apportion.trace import Credit, Review, Rollout

RESAMPLES = 1000
MIN_CHAINS = 8
# Chains of nearly the same length say nothing about growth.
MIN_SPREAD = 1.5
# So much of the cost of the longest chain has to come from the square for it to count.
SQUARE = 0.1
# What is fitted against the length of the chain, each of one call.
QUANTITIES = {
    "tokens": "tokens a call",
    "completion_tokens": "tokens that the reviewer writes",
    "attended_pairs": "pairs of tokens that attention forms",
    "seconds": "seconds a call",
}

Form = Literal["linear", "quadratic", "undecided"]


@dataclass(frozen=True)
class Growth:
    """Cost of a call against the chain's tokens n: least squares ``fixed + per_token n`` and, with
    a square term, ``square_share``: how much of the fitted cost of the longest chain that term
    is, with its 95 % interval from resampling chains.

    ``form`` is quadratic where the interval lies above ``SQUARE``, linear where it lies within
    that of zero, else undecided, as with fewer than ``MIN_CHAINS`` chains, or chains of which the
    longest is not ``MIN_SPREAD`` times the shortest.
    """

    form: Form
    chains: int
    shortest: int
    longest: int
    fixed: float | None = None
    per_token: float | None = None
    square_share: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass
class ReviewerCost:
    """Sums over the reviews of one reviewer. ``usd`` is None as soon as one call is unpriced.

    A credited token is a completion token of a trace on which a review did not fail and, where
    credit was recorded, that has credit; each counts once, however many critiques. The paid
    chain tokens are those of the reviews that made calls, once for each call.
    """

    reviewer: str
    prompts: set[str] = field(default_factory=set)
    reviews: int = 0
    failed: int = 0
    cached: int = 0
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    usd: float | None = 0.0
    credited_tokens: int = 0
    paid_chain_tokens: int = 0
    growth: dict[str, Growth] = field(default_factory=dict)

    def per_credited_token(self, quantity: str) -> float | None:
        """``tokens``, ``seconds`` or ``usd`` for each credited token; None without any, without a
        price, and for the time of an offline reviewer that does not record it."""
        amount = (
            self.prompt_tokens + self.completion_tokens
            if quantity == "tokens"
            else getattr(self, quantity)
        )
        untimed = quantity == "seconds" and not self.calls and not self.seconds
        if amount is None or untimed or not self.credited_tokens:
            return None
        return amount / self.credited_tokens

    @property
    def context_ratio(self) -> float | None:
        """Prompt tokens of a call over the tokens of the chain it is about, by sums."""
        return self._over_chain(self.prompt_tokens)

    @property
    def total_ratio(self) -> float | None:
        """The same with what the reviewer writes: all that its context has to hold."""
        return self._over_chain(self.prompt_tokens + self.completion_tokens)

    def _over_chain(self, tokens: int) -> float | None:
        return tokens / self.paid_chain_tokens if self.paid_chain_tokens else None

    def as_json(self) -> dict[str, Any]:
        return {
            "reviewer": self.reviewer,
            "prompts": sorted(self.prompts),
            "reviews": self.reviews,
            "failed": self.failed,
            "cached": self.cached,
            "calls": self.calls,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "seconds": round(self.seconds, 6),
            "usd": self.usd,
            "credited_tokens": self.credited_tokens,
            "per_credited_token": {
                name: self.per_credited_token(name) for name in ("tokens", "seconds", "usd")
            },
            "context_ratio": self.context_ratio,
            "total_ratio": self.total_ratio,
            "growth": {name: vars(growth) for name, growth in self.growth.items()},
        }


@dataclass(frozen=True)
class RunCost:
    """``train_seconds`` is the time of all updates, None where no training was recorded."""

    reviewers: list[ReviewerCost]
    train_seconds: float | None
    complaints: list[str]

    def as_json(self) -> dict[str, Any]:
        return {
            "train_seconds": self.train_seconds,
            "reviewers": [cost.as_json() for cost in self.reviewers],
        }


def cost_of_run(path: Path | str) -> RunCost:
    """Cost by reviewer over all parts (arms and seeds) of a run directory, from its records.

    Raises UserError where the directory holds no reviews.
    """
    run = load_run(path)
    ledgers: dict[str, _Ledger] = {}
    for part in run.parts:
        rollouts = {rollout.id: rollout for rollout in run.read(part, "rollouts")}
        credit: list[Credit] = run.read(part, "credit")
        credited = {record.rollout_id for record in credit} if credit else None
        for name, reviews in _by_reviewer(run.read(part, "reviews")).items():
            ledgers.setdefault(name, _Ledger(ReviewerCost(name))).add(reviews, rollouts, credited)
    if not ledgers:
        raise UserError(f"{path}: no reviews.jsonl with reviews in it: nothing was spent on any")
    seconds = [s for part in run.parts if (s := part.total("train/seconds")) is not None]
    costs = [ledgers[name].closed() for name in sorted(ledgers)]
    return RunCost(costs, sum(seconds) if seconds else None, run.complaints)


def _by_reviewer(reviews: Iterable[Review]) -> dict[str, list[Review]]:
    found: dict[str, list[Review]] = defaultdict(list)
    for review in reviews:
        found[review.reviewer].append(review)
    return found


@dataclass
class _Ledger:
    """Sums so far, and one point a paid call: the chain's key, its length, the quantities."""

    cost: ReviewerCost
    points: list[tuple[str, int, dict[str, float]]] = field(default_factory=list)
    parts: int = 0

    def add(
        self,
        reviews: Sequence[Review],
        rollouts: dict[str, Rollout],
        credited: set[str] | None,
    ) -> None:
        cost, judged = self.cost, set()
        self.parts += 1
        for review in reviews:
            usage, rollout = review.usage, rollouts.get(review.rollout_id)
            cost.reviews += 1
            cost.failed += not review.ok
            cost.cached += usage.cached
            cost.calls += usage.calls
            cost.prompt_tokens += usage.prompt_tokens
            cost.completion_tokens += usage.completion_tokens
            cost.seconds += usage.seconds
            if usage.usd is None:
                cost.usd = None if usage.calls else cost.usd
            elif cost.usd is not None:
                cost.usd += usage.usd
            if isinstance(review.meta.get("prompt"), str):
                cost.prompts.add(review.meta["prompt"])
            if rollout is None:
                continue
            length = _length(rollout)
            cost.paid_chain_tokens += length * usage.calls
            if review.ok and (credited is None or rollout.id in credited):
                judged.add(rollout.id)
            if review.ok and usage.calls and length:
                self.points.append((f"{self.parts}/{rollout.id}", length, _of_a_call(review)))
        cost.credited_tokens += sum(_length(rollouts[name]) for name in judged)

    def closed(self) -> ReviewerCost:
        for name in QUANTITIES:
            values = [(key, length, found[name]) for key, length, found in self.points]
            if any(value for _, _, value in values):
                self.cost.growth[name] = growth_of(values)
        return self.cost


def _length(rollout: Rollout) -> int:
    """Tokens; white-space delimited words where the trace came without tokens."""
    return len(rollout.token_ids) or len(word_spans(rollout.text))


def _of_a_call(review: Review) -> dict[str, float]:
    usage = review.usage
    tokens = (usage.prompt_tokens + usage.completion_tokens) / usage.calls
    return {
        "tokens": tokens,
        "completion_tokens": usage.completion_tokens / usage.calls,
        "attended_pairs": tokens * (tokens + 1) / 2,
        "seconds": usage.seconds / usage.calls,
    }


def growth_of(points: Sequence[tuple[str, int, float]], *, seed: int = SEED) -> Growth:
    """Fit cost against length; ``points`` are (chain, its tokens, cost), several a chain."""
    chains = {key: place for place, key in enumerate(dict.fromkeys(key for key, _, _ in points))}
    n = np.array([length for _, length, _ in points], dtype=float)
    cost = np.array([value for _, _, value in points], dtype=float)
    shortest, longest = (int(n.min()), int(n.max())) if len(n) else (0, 0)
    if len(chains) < MIN_CHAINS or longest < MIN_SPREAD * shortest or len(set(n)) < 4:
        return Growth("undecided", len(chains), shortest, longest)
    slope, fixed = np.polyfit(n, cost, 1)
    moments = np.zeros((len(chains), 8))
    x = n / longest  # at most 1, so that the normal equations are well conditioned
    terms = [*(x**k for k in range(5)), *(cost * x**k for k in range(3))]
    np.add.at(moments, [chains[key] for key, _, _ in points], np.stack(terms, axis=1))
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(chains), np.full(len(chains), 1 / len(chains)), size=RESAMPLES)
    (share,) = _square_shares(moments.sum(axis=0, keepdims=True))
    low, high = (float(q) for q in np.nanpercentile(_square_shares(drawn @ moments), (2.5, 97.5)))
    form: Form = "undecided"
    if low > SQUARE:
        form = "quadratic"
    elif low >= -SQUARE and high <= SQUARE:
        form = "linear"
    return Growth(
        form, len(chains), shortest, longest, float(fixed), float(slope), float(share), low, high
    )


def _square_shares(moments: np.ndarray) -> np.ndarray:
    """Of least squares a + b x + c x^2, the part of c in the value at x = 1, for each of R samples
    given as sums of x^0..x^4, y, y x, y x^2, (R, 8); nan where the lengths do not tell."""
    powers = np.array([[0, 1, 2], [1, 2, 3], [2, 3, 4]])
    matrices_R33, right_R3 = moments[:, powers], moments[:, 5:8]
    shares = np.full(len(moments), np.nan)
    sound = np.linalg.cond(matrices_R33) < 1e10
    if sound.any():
        fitted = np.linalg.solve(matrices_R33[sound], right_R3[sound][..., None])[..., 0]
        totals = fitted.sum(axis=1)
        shares[sound] = fitted[:, 2] / np.where(totals == 0, np.nan, totals)
    return shares
