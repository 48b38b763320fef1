"""From recorded rollouts and reviews to credit, without the policy that wrote them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from apportion.consensus import Case, consensus_of_many
from apportion.credit.base import Group, Method, Sample, group_advantage, to_record
from apportion.errors import UserError
from apportion.trace import Consensus, Credit, Review, Rollout, Step


def to_sample(
    rollout: Rollout,
    reviews: Sequence[Review],
    *,
    mask_T: np.ndarray | None = None,
    voting: Mapping[str, Any] | None = None,
) -> Sample:
    """A rollout and what its reviewers agree on, as credit methods want it.

    ``voting`` holds options of ``Voting``; ``mask_T`` (T,) bool defaults to every token.
    """
    return to_samples([rollout], [reviews], masks=[mask_T], voting=voting)[0]


def to_samples(
    rollouts: Sequence[Rollout],
    reviews: Sequence[Sequence[Review]],
    *,
    masks: Sequence[np.ndarray | None] | None = None,
    voting: Mapping[str, Any] | None = None,
    beside: Sequence[Case] = (),
) -> list[Sample]:
    """:func:`to_sample` of several rollouts whose reviews are voted on together: a rule that
    learns how good the reviewers are learns it from all of them, and from those ``beside``."""
    cases = [
        Case(r.id, of_one, r.reasoning_end) for r, of_one in zip(rollouts, reviews, strict=True)
    ]
    voted = consensus_of_many([*cases, *beside], **dict(voting or {}))[: len(cases)]
    return [
        _sample(rollout, agreed if agreed.valid_reviews else None, mask_T)
        for rollout, agreed, mask_T in zip(
            rollouts, voted, masks or [None] * len(rollouts), strict=True
        )
    ]


def _sample(rollout: Rollout, agreed: Consensus | None, mask_T: np.ndarray | None) -> Sample:
    length = len(rollout.token_ids)
    return Sample(
        rollout_id=rollout.id,
        outcome=float("nan") if rollout.outcome is None else rollout.outcome,
        mask_T=np.ones(length, dtype=bool) if mask_T is None else mask_T.astype(bool),
        spans_T=np.array(rollout.token_spans, dtype=np.int64).reshape(length, 2),
        consensus=agreed,
        signals={name: np.array(values) for name, values in rollout.signals.items()},
        reasoning_end=rollout.reasoning_end,
    )


def check_signals(rollouts: Sequence[Rollout], method: Method, name: str) -> None:
    """Raises UserError naming the first rollout that lacks a signal which the method needs."""
    for rollout in rollouts:
        missing = [need for need in method.needs if need not in rollout.signals]
        if missing:
            raise UserError(
                f"rollout {rollout.id} has no signal '{missing[0]}', which method {name} needs: "
                "signals are measured with the policy while it trains (credit.method)"
            )


def credit_rollouts(
    rollouts: Sequence[Rollout],
    reviews: Iterable[Review],
    method: Method,
    *,
    name: str,
    voting: Mapping[str, Any] | None = None,
    scale: Literal["group", "none"] = "group",
    seed: int = 0,
    cuts: Mapping[str, Sequence[Step]] | None = None,
) -> list[Credit]:
    """Credit records for all rollouts, in order. Completions of one ``group`` are compared.

    ``cuts`` gives, by rollout id, the steps to explain credit with where nobody reviewed.
    Raises UserError where the method needs a signal that a rollout does not carry.
    """
    check_signals(rollouts, method, name)
    reviews_of: dict[str, list[Review]] = defaultdict(list)
    for review in reviews:
        reviews_of[review.rollout_id].append(review)
    found = to_samples(rollouts, [reviews_of[r.id] for r in rollouts], voting=voting)
    members: dict[str, list[Sample]] = defaultdict(list)
    for rollout, sample in zip(rollouts, found, strict=True):
        members[rollout.group or rollout.problem.id].append(sample)
    records: dict[str, Credit] = {}
    for together in members.values():
        samples = tuple(together)
        base_G = group_advantage(np.array([s.outcome for s in samples]), scale)
        group = Group(samples, base_G, progress=1.0, seed=seed)
        for sample, credit in zip(samples, method.assign(group), strict=True):
            cut = (cuts or {}).get(sample.rollout_id, ())
            records[sample.rollout_id] = to_record(name, sample, credit, cut)
    return [records[rollout.id] for rollout in rollouts]
