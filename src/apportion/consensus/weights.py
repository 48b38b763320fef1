"""Weights of reviewers from what was measured of them. Pure numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apportion.review.report import ReviewerReport

# Rates of 0 and 1 were measured on finitely many steps; unbounded weight would end every vote.
SURE = 0.995


def log_odds_weight(tpr: float, fpr: float) -> float:
    """logit(TPR) - logit(FPR), in nats; 0 where Youden's J = TPR - FPR is not above 0.

    The log-likelihood ratio that a reviewer's verdict moves from "right" to "wrong": with these
    weights the weighted majority is the most probable verdict for independent reviewers, equal
    priors, and errors that are as likely in either direction (TPR = 1 - FPR), where the weight is
    2 log(p / (1 - p)). Source: Nitzan and Paroush 1982, for equal competence in both directions.
    Rates are kept within [0.005, 0.995]. Raises ValueError for a rate that is no probability.
    """
    for rate in (tpr, fpr):
        if not 0.0 <= rate <= 1.0:
            raise ValueError(f"rate {rate} is not a probability")
    tpr, fpr = (min(max(rate, 1 - SURE), SURE) for rate in (tpr, fpr))
    return max(0.0, _logit(tpr) - _logit(fpr))


def _logit(p: float) -> float:
    return math.log(p / (1 - p))


def log_odds_weights(rates: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Log-odds weight of each reviewer, scaled to mean 1, so that a reviewer without measured
    rates (weight 1) counts as an average one. All are 0 where no J is above 0."""
    return scaled({name: log_odds_weight(*pair) for name, pair in rates.items()})


def scaled(weights: Mapping[str, float]) -> dict[str, float]:
    """The weights times what makes their mean 1; unchanged where all are 0."""
    total = math.fsum(weights.values())
    factor = len(weights) / total if total > 0 else 1.0
    return {name: weight * factor for name, weight in weights.items()}


def measured_rates(report: ReviewerReport) -> tuple[float, float] | None:
    """(TPR, FPR) of a report, each (k + 1/2) / (n + 1): what was never seen to fail may still
    fail (Jeffreys' prior). None where no wrong or no right step was judged."""
    if report.tpr is None or report.fpr is None:
        return None
    pair = (report.tpr, report.fpr)
    tpr, fpr = ((rate.value * rate.n + 0.5) / (rate.n + 1) for rate in pair)
    return round(tpr, 5), round(fpr, 5)
