"""Which reviewer's own credit is most like the credit that the panel gave a chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from apportion.credit.apply import to_samples
from apportion.credit.base import FloatArray, Group, Method
from apportion.trace import Review, Rollout

TIE = 1e-6


def similarity(one_T: FloatArray, other_T: FloatArray) -> float:
    """1 - sum|a - b| / sum(|a| + |b|), in [0, 1]; 1 for equal credit, and where both are 0.

    The complement of the Bray-Curtis dissimilarity. For two distributions of the same total, such
    as DCA's multipliers, it is 1 - their total variation distance.
    """
    total = float(np.abs(one_T).sum() + np.abs(other_T).sum())
    return 1.0 - float(np.abs(one_T - other_T).sum()) / total if total else 1.0


def reviewer_agreement(
    rollouts: Sequence[Rollout],
    reviews: Sequence[Sequence[Review]],
    method: Method,
    *,
    voting: Mapping[str, Any] | None = None,
) -> list[dict[str, float]]:
    """For each rollout: reviewer to the similarity of the credit that the method gives by its
    reviews alone and the credit that it gives by all of them.

    Each chain is credited by itself, with an advantage of 1 where its outcome is at least 0.5 and
    of -1 elsewhere: in a group whose outcomes are all equal nobody has any credit to agree on. A
    reviewer whose reviews all failed is left out.
    """
    agreed = _values(rollouts, reviews, method, voting)
    names = dict.fromkeys(r.reviewer for of_one in reviews for r in of_one if r.ok)
    found: list[dict[str, float]] = [{} for _ in rollouts]
    for name in names:
        own = [[r for r in of_one if r.ok and r.reviewer == name] for of_one in reviews]
        alone = {"rule": "majority"} if (voting or {}).get("rule") == "dawid_skene" else {}
        values = _values(rollouts, own, method, {**(voting or {}), "min_reviews": 1, **alone})
        for by_name, said, mine_T, all_T in zip(found, own, values, agreed, strict=True):
            if said:
                by_name[name] = similarity(mine_T, all_T)
    return found


def closest(agreement: Mapping[str, float]) -> tuple[str, ...]:
    """The reviewers that agree most, all of them where several do so equally, sorted by name."""
    best = max(agreement.values(), default=0.0)
    return tuple(sorted(name for name, value in agreement.items() if value >= best - TIE))


def _values(
    rollouts: Sequence[Rollout],
    reviews: Sequence[Sequence[Review]],
    method: Method,
    voting: Mapping[str, Any] | None,
) -> list[FloatArray]:
    """The method's values of each chain, (T,), in its own unit."""
    samples = to_samples(rollouts, reviews, voting=voting)
    return [
        method.assign(Group((sample,), np.array([1.0 if sample.outcome >= 0.5 else -1.0])))[
            0
        ].values_T
        for sample in samples
    ]
