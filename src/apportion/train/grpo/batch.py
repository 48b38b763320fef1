"""One generation's completions on their way from text to credit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from apportion.consensus import Case, disputed_spans, krippendorff_alpha
from apportion.credit import Group, Method, Sample, TokenCredit, name_of, to_record
from apportion.credit.apply import to_samples
from apportion.review import load_reviewer
from apportion.review.base import Reviewer
from apportion.review.cross_examine import review_in_rounds
from apportion.review.panel import Item, ReviewLoop
from apportion.segment import decode_with_spans, segment
from apportion.segment.answer_line import find_reasoning_end
from apportion.trace import Credit, Problem, Review, Rollout, Step
from apportion.train.grpo.gaming import gaming_metrics
from apportion.train.grpo.side_effects import side_effects


@dataclass
class Batch:
    """Completions with frozen outcomes whose reviews are on their way."""

    rollouts: list[Rollout]
    cuts: list[tuple[Step, ...]]
    pending: Future[list[list[Review]]] | None
    reviews: list[list[Review]] = field(default_factory=list)


@dataclass
class CreditedBatch:
    """This process's completions, their reviews, and the credit each token got."""

    rollouts: list[Rollout]
    reviews: list[list[Review]]
    samples: list[Sample]
    credits: list[TokenCredit]
    method: str
    cuts: list[tuple[Step, ...]]
    metrics: dict[str, float]

    def records(self) -> list[Credit]:
        return [
            to_record(self.method, sample, credit, cut)
            for sample, credit, cut in zip(self.samples, self.credits, self.cuts, strict=True)
        ]

    def as_json(self) -> list[str]:
        """One JSON text per completion: its steps with value, verdict and reason."""
        return [
            json.dumps([step.model_dump(exclude={"schema_version"}) for step in record.steps])
            for record in self.records()
        ]


class ReviewDesk:
    """Takes completions in, sends them to the reviewers, and turns verdicts into credit."""

    def __init__(
        self,
        reviewers: Sequence[str | dict[str, Any] | Reviewer],
        *,
        method: Method,
        voting: dict[str, Any],
        segmenter: str,
        reasoning_end: Callable[[str], int] | None,
        timeout: float,
        seed: int,
        cross_examine: int = 0,
    ) -> None:
        self._reviewers = [load_reviewer(r) if isinstance(r, str | dict) else r for r in reviewers]
        self._method = method
        self._voting = voting
        self._segmenter = segmenter
        self._reasoning_end = reasoning_end or find_reasoning_end
        self._timeout = timeout
        self._seed = seed
        self._rounds = cross_examine
        self._learned: dict[str, float] = {}
        self._loop = ReviewLoop() if self._reviewers else None

    @property
    def reviewers(self) -> Sequence[Reviewer]:
        return self._reviewers

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """Multiply the votes of the batches to come by these; who has 0 is not asked. Reviewers
        that are not named keep 1. Call it between batches, not while one is open."""
        self._learned = dict(weights)

    @property
    def _votes(self) -> dict[str, Any]:
        """The options of the vote as they are now."""
        given = dict(self._voting.get("weights") or {})
        learned = {name: weight * given.get(name, 1.0) for name, weight in self._learned.items()}
        return self._voting | {"weights": given | learned}

    def open(
        self,
        *,
        problems: Sequence[Problem],
        token_ids: Sequence[Sequence[int]],
        outcomes: Sequence[float],
        decode: Callable[[list[int]], str],
        update: int,
        first_index: int,
        group_size: int,
    ) -> Batch:
        """Build rollouts, outcome included, and start their reviews without waiting for them."""
        rollouts, cuts = [], []
        for b, (problem, ids, outcome) in enumerate(
            zip(problems, token_ids, outcomes, strict=True)
        ):
            text, spans = decode_with_spans(ids, decode)
            group, index = divmod(first_index + b, group_size)
            end = self._reasoning_end(text)
            rollouts.append(
                Rollout(
                    id=f"u{update}/{group}/{index}",
                    problem=problem,
                    text=text,
                    token_ids=tuple(ids),
                    token_spans=spans,
                    outcome=None if np.isnan(outcome) else outcome,
                    reasoning_end=end,
                    group=f"u{update}/{group}",
                    update=update,
                )
            )
            cuts.append(segment(text, end, self._segmenter))
        return Batch(rollouts, cuts, self._submit(rollouts, cuts))

    def _submit(
        self, rollouts: list[Rollout], cuts: list[tuple[Step, ...]]
    ) -> Future[list[list[Review]]] | None:
        asked = [r for r in self._reviewers if self._learned.get(r.name, 1.0) > 0]
        if self._loop is None or not asked:
            return None
        items = [
            Item(r.problem, r.text, steps, r.outcome, r.id)
            for r, steps in zip(rollouts, cuts, strict=True)
        ]
        work = review_in_rounds(
            asked,
            items,
            rounds=self._rounds,
            disputed=partial(disputed_spans, **self._votes),
            timeout=self._timeout,
        )
        return self._loop.submit(work)

    def samples(
        self,
        batch: Batch,
        mask_BT: np.ndarray,
        base_B: Sequence[float],
        gather: Callable[[list[Case]], list[Case]] = list,
    ) -> list[tuple[Sample, float]]:
        """Wait for the reviews; each completion with its consensus and its base advantage.

        ``gather`` brings together what all processes have: a rule that learns how good the
        reviewers are must learn the same in each of them.
        """
        none: list[list[Review]] = [[] for _ in batch.rollouts]
        batch.reviews = batch.pending.result() if batch.pending else none
        beside: list[Case] = []
        if self._voting.get("rule") == "dawid_skene":
            pairs = zip(batch.rollouts, batch.reviews, strict=True)
            mine = [Case(r.id, reviews, r.reasoning_end) for r, reviews in pairs]
            ids = {case.rollout_id for case in mine}
            beside = [case for case in gather(mine) if case.rollout_id not in ids]
        found = to_samples(
            batch.rollouts,
            batch.reviews,
            masks=[mask_BT[b, : len(r.token_ids)] for b, r in enumerate(batch.rollouts)],
            voting=self._votes,
            beside=beside,
        )
        return list(zip(found, base_B, strict=True))

    def credit(
        self,
        batch: Batch,
        local: list[tuple[Sample, float]],
        everyone: list[tuple[Sample, float]],
        group_size: int,
        progress: float,
    ) -> CreditedBatch:
        """Credit of this process's completions, computed within whole groups of all processes."""
        mine = {sample.rollout_id for sample, _ in local}
        found: dict[str, TokenCredit] = {}
        for start in range(0, len(everyone), group_size):
            members = everyone[start : start + group_size]
            if mine.isdisjoint(sample.rollout_id for sample, _ in members):
                continue
            samples = tuple(sample for sample, _ in members)
            base_G = np.array([base for _, base in members], dtype=np.float64)
            group = Group(samples, base_G, progress=progress, seed=self._seed)
            credits = self._method.assign(group)
            found.update(zip((s.rollout_id for s in samples), credits, strict=True))
        samples = [sample for sample, _ in local]
        credits = [found[sample.rollout_id] for sample in samples]
        return CreditedBatch(
            rollouts=batch.rollouts,
            reviews=batch.reviews,
            samples=samples,
            credits=credits,
            method=name_of(self._method),
            cuts=batch.cuts,
            metrics=_metrics(batch, local, credits),
        )

    def close(self) -> None:
        """Let the reviewers close their connections, then end the loop. Safe to call twice."""
        if self._loop is None:
            return
        for reviewer in self._reviewers:
            close = getattr(reviewer, "aclose", None)
            if close is not None:
                self._loop.submit(close()).result()
        self._loop.close()
        self._loop = None


def _metrics(
    batch: Batch, local: list[tuple[Sample, float]], credits: list[TokenCredit]
) -> dict[str, float]:
    """Means over this process's completions; docs/metrics.md explains each."""
    tokens = {"agreed": 0, "disputed": 0, "unreviewed": 0}
    moved, kept = 0.0, 0.0
    for (sample, base), credit in zip(local, credits, strict=True):
        for step in sample.steps:
            tokens[step.status] += int(sample.tokens_of(step.start, step.end).sum())
        moved += float(np.abs(credit.advantages_T - base * sample.mask_T).sum())
        kept += float(credit.advantages_T.sum() - base * sample.mask_T.sum())
    total = max(1, sum(int(sample.mask_T.sum()) for sample, _ in local))
    metrics = {
        "credit/agreed_tokens": tokens["agreed"] / total,
        "credit/disputed_tokens": tokens["disputed"] / total,
        "credit/moved": moved / total,
        "credit/added": kept / total,
        "credit/steps": float(np.mean([len(cut) for cut in batch.cuts])),
    }
    metrics |= side_effects(batch.rollouts, local, credits)
    metrics |= gaming_metrics(batch.rollouts, batch.cuts)
    reviews = [review for of_one in batch.reviews for review in of_one]
    if reviews:
        usage = [review.usage for review in reviews]
        priced = [u.usd for u in usage if u.usd is not None]
        voted = [s.wrong for sample, _ in local for s in sample.steps if s.status != "unreviewed"]
        silent = [verdict.abstains for review in reviews for verdict in review.verdicts]
        alpha = krippendorff_alpha([s.consensus for s, _ in local if s.consensus])
        metrics |= {
            "review/failed": sum(not review.ok for review in reviews) / len(reviews),
            "review/wrong_steps": float(np.mean(voted)) if voted else 0.0,
            "review/abstained": float(np.mean(silent)) if silent else 0.0,
            "review/calls": float(sum(u.calls for u in usage)),
            "review/tokens": float(sum(u.prompt_tokens + u.completion_tokens for u in usage)),
            "review/seconds": float(sum(u.seconds for u in usage)),
        }
        if priced:
            metrics["review/usd"] = float(sum(priced))
        if alpha is not None:
            metrics["review/alpha"] = alpha
    return metrics
