"""Which reviewer agrees most with the credit that a chain got."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from apportion.credit.apply import to_samples
from apportion.credit.base import FloatArray, Group, Method, Sample
from apportion.trace import Label, Review, Rollout

TIE = 1e-6
# What a verdict by itself would pay a token of a right chain, and of a wrong one.
_OF_RIGHT: dict[Label, float] = {"useful": 1.0, "irrelevant": 0.0, "harmful": -1.0}
_OF_WRONG: dict[Label, float] = {"useful": 0.0, "irrelevant": -0.5, "harmful": -1.0}


def similarity(one_T: FloatArray, other_T: FloatArray) -> float:
    """1 - sum|a - b| / sum(|a| + |b|), in [0, 1]; 1 for equal credit, and where both are 0.

    The complement of the Bray-Curtis dissimilarity, which for two distributions of the same total
    is their total variation distance.
    """
    total = float(np.abs(one_T).sum() + np.abs(other_T).sum())
    return 1.0 - float(np.abs(one_T - other_T).sum()) / total if total else 1.0


def own_credit(sample: Sample, right: bool) -> FloatArray:
    """What one reviewer's verdicts alone would pay each token, (T,); its consensus is only his.

    In a right chain 1 for a useful token, 0 for an irrelevant and -1 for a harmful one, in a wrong
    one 0, -1/2 and -1; where the reviewer says nothing, the advantage of 1 or -1. Nothing is
    redistributed: a method that keeps the total would pay a chain that a reviewer finds useless
    from end to end as one that he finds useful from end to end.
    """
    paid = _OF_RIGHT if right else _OF_WRONG
    own_T = sample.mask_T * (1.0 if right else -1.0)
    for step in sample.steps:
        if step.status != "unreviewed" and step.label is not None:
            own_T[sample.tokens_of(step.start, step.end)] = paid[step.label]
    return own_T


def reviewer_agreement(
    rollouts: Sequence[Rollout],
    reviews: Sequence[Sequence[Review]],
    method: Method,
    *,
    voting: Mapping[str, Any] | None = None,
) -> list[dict[str, float]]:
    """For each rollout: reviewer to the :func:`similarity` of his own credit and the credit that
    the method gives by all reviews.

    Each chain is credited by itself, with an advantage of 1 where its outcome is at least 0.5 and
    of -1 elsewhere: in a group whose outcomes are all equal nobody has any credit to agree on. A
    reviewer whose reviews of a rollout all failed is left out there.
    """
    agreed = to_samples(rollouts, reviews, voting=voting)
    right = [sample.outcome >= 0.5 for sample in agreed]
    final = [_credit(method, sample, r) for sample, r in zip(agreed, right, strict=True)]
    names = dict.fromkeys(r.reviewer for of_one in reviews for r in of_one if r.ok)
    found: list[dict[str, float]] = [{} for _ in rollouts]
    for name in names:
        own = [[r for r in of_one if r.ok and r.reviewer == name] for of_one in reviews]
        alone = to_samples(rollouts, own)
        for index, said in enumerate(own):
            if said:
                own_T = own_credit(alone[index], right[index])
                found[index][name] = similarity(own_T, final[index])
    return found


def closest(agreement: Mapping[str, float]) -> tuple[str, ...]:
    """The reviewers that agree most, all of them where several do so equally, sorted by name."""
    best = max(agreement.values(), default=0.0)
    return tuple(sorted(name for name, value in agreement.items() if value >= best - TIE))


def _credit(method: Method, sample: Sample, right: bool) -> FloatArray:
    group = Group((sample,), np.array([1.0 if right else -1.0]))
    return method.assign(group)[0].advantages_T
