"""Who says what of which span: reviews of one rollout put on their common refinement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apportion.consensus.options import Voting
from apportion.trace import Label, Review, Step, StepVerdict, refine


@dataclass(frozen=True)
class Vote:
    """One verdict on one span. ``name`` is the reviewer, or "reviewer#k" where it gave several
    critiques; ``review`` is where the verdict comes from."""

    name: str
    family: str
    weight: float
    verdict: StepVerdict
    review: Review

    @property
    def label(self) -> Label:
        """A verdict that only says correct or not counts as useful or harmful."""
        if self.verdict.wrong:
            return "harmful"
        return self.verdict.label or "useful"


@dataclass(frozen=True)
class Ballots:
    """The spans of one rollout's common refinement, and the votes on each (no abstentions)."""

    spans: tuple[Step, ...]
    votes: tuple[tuple[Vote, ...], ...]


def ballots_of(
    reviews: Sequence[Review], end: int, voting: Voting, weights: Mapping[str, float]
) -> Ballots:
    """The votes on each span of [0, end). Failed reviews, abstentions and reviewers of weight 0
    do not vote."""
    valid = [r for r in reviews if r.ok]
    spans = refine([[*r.steps] for r in valid], end) if valid else ()
    votes: list[list[Vote]] = [[] for _ in spans]
    for review in valid:
        weight = weights.get(review.reviewer, 1.0)
        if weight > 0:
            _cast(review, _name(review, valid), weight, voting.family_of(review), spans, votes)
    return Ballots(spans, tuple(tuple(on_span) for on_span in votes))


def _name(review: Review, reviews: Sequence[Review]) -> str:
    several = any(r.reviewer == review.reviewer and r is not review for r in reviews)
    return f"{review.reviewer}#{review.critique}" if several else review.reviewer


def _cast(
    review: Review,
    name: str,
    weight: float,
    family: str,
    spans: Sequence[Step],
    votes: list[list[Vote]],
) -> None:
    """Add the review's verdicts to the spans that its steps cover."""
    step = 0
    for span, on_span in zip(spans, votes, strict=True):
        while step < len(review.steps) and review.steps[step].end <= span.start:
            step += 1
        if step == len(review.steps) or review.steps[step].start > span.start:
            continue
        verdict = review.verdicts[step]
        if not verdict.abstains:
            on_span.append(Vote(name, family, weight, verdict, review))
