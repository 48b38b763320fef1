"""The gradient estimate of TRICE as weighted chains: what is computed, and with which weight.

M is the number of problems of an update. For each, z̃ is a fresh proposal of the policy and z what
the memory holds after the proposal was accepted or not; c is 1 for a chain with a right answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

Chain = Literal["memory", "proposal"]


class Term(NamedTuple):
    """``weight`` · ∇ log p(chain | problem), for problem number ``example`` of the batch."""

    example: int
    chain: Chain
    weight: float


def leave_one_out(accepted: Sequence[bool]) -> list[float]:
    """For each problem the share of the other proposals that were right. 0 for a batch of one.

    Independent of the problem's own proposal, without which the control variate would be biased
    (TRICE, 2312.02179, section 2.2).
    """
    others = len(accepted) - 1
    return [(sum(accepted) - own) / others if others else 0.0 for own in accepted]


def gradient_terms(
    remembered: Sequence[bool], accepted: Sequence[bool], betas: Sequence[float]
) -> list[Term]:
    """The terms of M · ĝ with ĝ = (1/M) Σ_m [c(z_m) ∇ log p(z_m) − β_m ∇ log p(z̃_m)].

    ``remembered[m]`` says whether the memory holds a right chain after the step, ``accepted[m]``
    whether it is the proposal: then both terms are of one chain and its weight is 1 − β_m. The
    expectation of ∇ log p(z̃) is 0, so β_m > 0 leaves the mean of ĝ unchanged; as all answers
    become right all weights go to 0, and with them the variance. A problem that was never answered
    contributes −β_m ∇ log p(z̃): it learns from its wrong proposal. Terms of weight 0 are left out.

    Source: TRICE (2312.02179), algorithms 2 (all β 0) and 3.
    """
    found = []
    for m, (known, own, beta) in enumerate(zip(remembered, accepted, betas, strict=True)):
        if own:
            found.append(Term(m, "proposal", 1.0 - beta))
        else:
            if known:
                found.append(Term(m, "memory", 1.0))
            found.append(Term(m, "proposal", -beta))
    return [term for term in found if term.weight]


def systematic(terms: Sequence[Term], size: int, offset: float) -> list[Term]:
    """At most ``size`` of the terms, with weights that keep the expectation of their sum.

    Term k is drawn floor or ceil of size·|w_k| / Σ|w| times: the points (offset + i) / size,
    i < size, on the line on which the |w| lie end to end, hit it so often. Drawn n times it weighs
    n · sign(w_k) · Σ|w| / size. ``offset`` is uniform on [0, 1). All terms where they are no more
    than ``size``.

    Source: systematic resampling as in TRICE (2312.02179), algorithm 3.
    """
    if len(terms) <= size:
        return list(terms)
    step = sum(abs(term.weight) for term in terms) / size
    found = []
    position, hits = 0.0, 0
    for term in terms:
        position += abs(term.weight)
        drawn = 0
        while hits < size and (hits + offset) * step < position:
            drawn, hits = drawn + 1, hits + 1
        if drawn:
            sign = 1.0 if term.weight > 0 else -1.0
            found.append(term._replace(weight=sign * drawn * step))
    return found
