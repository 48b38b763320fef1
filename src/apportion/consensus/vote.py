"""Vote over reviews whose steps need not be the same.

Reviewers cut a chain where they like. The votes are taken on characters: the common refinement of
all cuts is the coarsest partition on which every reviewer's opinion is constant.

CAPO (arXiv 2508.02298) votes over K critiques by union, intersection, majority (ties count as
wrong), average, or takes one greedy critique; DCA adds that only agreed parts may train.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apportion.errors import UserError, nearest
from apportion.trace import (
    LABELS,
    Consensus,
    Label,
    Review,
    Status,
    Step,
    StepConsensus,
    StepVerdict,
    refine,
)

RULES: dict[str, str] = {
    "majority": "wrong when at least half of the votes say so (ties count as wrong)",
    "union": "wrong when any vote says so",
    "intersection": "wrong only when all votes say so",
    "average": "the share of votes that say so, a fraction",
    "greedy": "the first critique of each reviewer decides, the others are ignored",
}


@dataclass(frozen=True)
class _Vote:
    reviewer: str  # "name" or "name#k"
    weight: float
    verdict: StepVerdict
    step_index: int
    review: Review


def consensus(
    reviews: Sequence[Review],
    end: int,
    *,
    rule: str = "majority",
    quorum: float = 0.66,
    min_reviews: int = 1,
    weights: Mapping[str, float] | None = None,
    rollout_id: str = "",
) -> Consensus:
    """Vote on the reasoning ``[0, end)`` of one rollout.

    Failed reviews are left out, abstentions do not vote. A span with fewer than ``min_reviews``
    votes is *unreviewed*; one whose most common label holds less than ``quorum`` of the weight
    cast, or shares first place, is *disputed*. ``weights`` maps reviewer names to non-negative
    weights (default 1). Raises UserError for an unknown rule.
    """
    if rule not in RULES:
        raise UserError(f"unknown consensus rule '{rule}'{nearest(rule, list(RULES))}")
    weights = dict(weights or {})
    valid = [r for r in reviews if r.ok and (rule != "greedy" or r.critique == 0)]
    spans = refine([[*r.steps] for r in valid], end) if valid else ()
    ballots = _ballots(valid, spans, weights)
    steps = tuple(
        _decide(span, ballot, rule, quorum, min_reviews)
        for span, ballot in zip(spans, ballots, strict=True)
    )
    return Consensus(
        rollout_id=rollout_id or (reviews[0].rollout_id if reviews else ""),
        rule=rule,
        steps=_with_dependencies(steps, spans, ballots),
        valid_reviews=len(valid),
        failed_reviews=sum(not r.ok for r in reviews),
        weights={r.reviewer: weights.get(r.reviewer, 1.0) for r in valid},
    )


def _ballots(
    reviews: Sequence[Review], spans: Sequence[Step], weights: Mapping[str, float]
) -> list[list[_Vote]]:
    """The votes on each span of the refinement, abstentions left out."""
    ballots: list[list[_Vote]] = [[] for _ in spans]
    for review in reviews:
        several = any(r.reviewer == review.reviewer and r is not review for r in reviews)
        name = f"{review.reviewer}#{review.critique}" if several else review.reviewer
        weight = weights.get(review.reviewer, 1.0)
        step = 0
        for span, ballot in zip(spans, ballots, strict=True):
            while step < len(review.steps) and review.steps[step].end <= span.start:
                step += 1
            if step == len(review.steps) or review.steps[step].start > span.start:
                continue
            verdict = review.verdicts[step]
            if weight > 0 and not verdict.abstains:
                ballot.append(_Vote(name, weight, verdict, step, review))
    return ballots


def _decide(
    span: Step, ballot: list[_Vote], rule: str, quorum: float, min_reviews: int
) -> StepConsensus:
    if len(ballot) < max(1, min_reviews):
        return StepConsensus(start=span.start, end=span.end, status="unreviewed")
    total = sum(vote.weight for vote in ballot)
    wrong_share = sum(vote.weight for vote in ballot if vote.verdict.wrong) / total
    labels: dict[Label, float] = defaultdict(float)
    for vote in ballot:
        labels[_label(vote.verdict)] += vote.weight
    ranked = sorted(labels.items(), key=lambda item: (-item[1], -LABELS.index(item[0])))
    label, weight = ranked[0]
    tied = len(ranked) > 1 and ranked[1][1] == weight
    agreement = weight / total
    status: Status = "disputed" if tied or agreement < quorum - 1e-9 else "agreed"
    focuses = [v.verdict.focus for v in ballot if v.verdict.wrong and v.verdict.focus]
    return StepConsensus(
        start=span.start,
        end=span.end,
        status=status,
        label=label,
        wrong=_wrong(rule, wrong_share),
        agreement=agreement,
        focus=_clip(focuses[0], span) if focuses else None,
        votes={vote.reviewer: _label(vote.verdict) for vote in ballot},
    )


def _label(verdict: StepVerdict) -> Label:
    """A verdict that only says correct or not counts as useful or harmful."""
    if verdict.wrong:
        return "harmful"
    return verdict.label or "useful"


def _wrong(rule: str, share: float) -> float:
    if rule == "average":
        return share
    if rule == "union":
        return float(share > 0)
    if rule == "intersection":
        return float(share >= 1 - 1e-9)
    return float(share >= 0.5 - 1e-9)


def _clip(focus: tuple[int, int], span: Step) -> tuple[int, int] | None:
    start, end = max(focus[0], span.start), min(focus[1], span.end)
    return (start, end) if start < end else None


def _with_dependencies(
    steps: tuple[StepConsensus, ...], spans: Sequence[Step], ballots: list[list[_Vote]]
) -> tuple[StepConsensus, ...]:
    """Keep an edge between spans when more than half of the weight on the later one drew it."""
    linked = []
    for index, (step, ballot) in enumerate(zip(steps, ballots, strict=True)):
        total = sum(vote.weight for vote in ballot)
        drawn: dict[int, float] = defaultdict(float)
        for vote in ballot:
            sources = [vote.review.steps[d] for d in vote.verdict.depends_on]
            for earlier in range(index):
                if any(s.start <= spans[earlier].start < s.end for s in sources):
                    drawn[earlier] += vote.weight
        kept = tuple(sorted(e for e, weight in drawn.items() if weight > total / 2))
        linked.append(step.model_copy(update={"depends_on": kept}) if kept else step)
    return tuple(linked)
