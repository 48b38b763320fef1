"""How reviews become one verdict: the options of a vote."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from apportion.consensus.dawid_skene import MIN_REVIEWERS
from apportion.consensus.weights import log_odds_weights
from apportion.errors import UserError, nearest
from apportion.trace import Review

RULES: dict[str, str] = {
    "majority": "wrong when at least half of the votes say so (ties count as wrong)",
    "union": "wrong when any vote says so",
    "intersection": "wrong only when all votes say so",
    "average": "the share of votes that say so, a fraction",
    "greedy": "the first critique of each reviewer decides, the others are ignored",
    "dawid_skene": "learns each reviewer's own error rates from all votes; for 3 or more reviewers",
}


@dataclass(frozen=True)
class Voting:
    """Options of a vote.

    A span with fewer than ``min_reviews`` votes, or votes of fewer than ``min_families`` families,
    is *unreviewed*. One whose first label holds less than ``quorum`` of the weight cast (under
    ``dawid_skene``: is less probable than that), shares first place, or is backed by fewer than
    ``min_families`` families, is *disputed*.

    ``partial``: only the agreed parts of a chain train. Without it a chain with any disputed span
    has no agreed one: all or nothing. It changes the status of spans, not the voted share.

    ``weights`` maps reviewers to non-negative weights (default 1); 0 silences. ``rates`` maps them
    to their measured (TPR, FPR), which multiplies the weight by their log-odds (see
    ``log_odds_weights``). ``families`` maps reviewers to what they are made of; without an entry
    that is the family, else the model, that its reviews name, else the reviewer's name.

    Raises UserError for an unknown rule or an option out of range.
    """

    rule: str = "majority"
    quorum: float = 0.66
    min_reviews: int = 1
    partial: bool = True
    min_families: int = 1
    weights: Mapping[str, float] = field(default_factory=dict)
    rates: Mapping[str, tuple[float, float]] | str = field(default_factory=dict)
    families: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise UserError(f"unknown consensus rule '{self.rule}'{nearest(self.rule, [*RULES])}")
        if isinstance(self.rates, str):
            raise UserError(
                f"consensus.rates '{self.rates}' is filled in when training starts; here give the "
                "numbers: {REVIEWER: [TPR, FPR]}"
            )
        for name, weight in self.weights.items():
            if not weight >= 0:
                raise UserError(f"consensus: the weight of {name} is {weight}, not 0 or more")

    def final_weights(self) -> dict[str, float]:
        """Weight by reviewer, measured rates included; reviewers that it lacks have 1."""
        assert not isinstance(self.rates, str)
        odds = log_odds_weights(self.rates)
        names = [*self.weights, *(name for name in odds if name not in self.weights)]
        return {name: self.weights.get(name, 1.0) * odds.get(name, 1.0) for name in names}

    def family_of(self, review: Review) -> str:
        stated = review.meta.get("family") or review.meta.get("model")
        return self.families.get(review.reviewer) or str(stated or review.reviewer)


def check_panel(rule: str, reviewers: Collection[str]) -> None:
    """Raise UserError where these reviewers are too few for the rule; nobody at all is no panel,
    and nothing is voted on."""
    if rule == "dawid_skene" and 0 < len(reviewers) < MIN_REVIEWERS:
        raise UserError(
            f"consensus rule dawid_skene needs {MIN_REVIEWERS} or more reviewers, not "
            f"{len(reviewers)} ({', '.join(sorted(reviewers))}): error rates cannot be told apart "
            "otherwise; use majority"
        )
