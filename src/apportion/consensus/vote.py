"""Vote over reviews whose steps need not be the same.

Reviewers cut a chain where they like. The votes are taken on characters: the common refinement of
all cuts is the coarsest partition on which every reviewer's opinion is constant.

CAPO (arXiv 2508.02298) votes over K critiques by union, intersection, majority (ties count as
wrong), average, or takes one greedy critique; DCA adds that only agreed parts may train.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from apportion.consensus.ballots import Ballots, Vote, ballots_of
from apportion.consensus.dawid_skene import MIN_REVIEWERS, dawid_skene
from apportion.consensus.options import RULES, Voting, check_panel
from apportion.trace import LABELS, Consensus, Label, Review, Status, Step, StepConsensus

__all__ = ["RULES", "Case", "Voting", "consensus", "consensus_of_many", "disputed_spans"]


class Case(NamedTuple):
    """One rollout to vote on: its reviews, and where its reasoning ends."""

    rollout_id: str
    reviews: Sequence[Review]
    end: int


class Decision(NamedTuple):
    """What a rule makes of the votes on one span."""

    label: Label
    agreement: float
    tied: bool
    wrong: float


def consensus(
    reviews: Sequence[Review], end: int, *, rollout_id: str = "", **options: Any
) -> Consensus:
    """Vote on the reasoning ``[0, end)`` of one rollout; ``options`` are those of ``Voting``.

    Failed reviews are left out, abstentions do not vote. Raises UserError as ``Voting`` and
    ``consensus_of_many`` do.
    """
    name = rollout_id or (reviews[0].rollout_id if reviews else "")
    return consensus_of_many([Case(name, reviews, end)], **options)[0]


def consensus_of_many(cases: Sequence[Case], **options: Any) -> list[Consensus]:
    """One consensus per rollout. Under ``dawid_skene`` the reviewers' error rates are learned from
    all of them together; the other rules decide each rollout by itself.

    Where failed reviews leave fewer than three reviewers, ``dawid_skene`` cannot be fitted: the
    majority decides and ``Consensus.rule`` says so. Raises UserError where it never had three.
    """
    voting = Voting(**options)
    weights = voting.final_weights()
    asked = [list(case.reviews) for case in cases]
    if voting.rule == "greedy":
        asked = [[r for r in reviews if r.critique == 0] for reviews in asked]
    ballots = [
        ballots_of(reviews, case.end, voting, weights)
        for case, reviews in zip(cases, asked, strict=True)
    ]
    rule, decided = voting.rule, _by_votes(ballots, voting.rule)
    if rule == "dawid_skene":
        fitted = _by_dawid_skene(ballots, weights, _panel(asked))
        rule = (
            "dawid_skene" if fitted else f"majority: fewer than {MIN_REVIEWERS} reviews succeeded"
        )
        decided = fitted or decided
    return [
        Consensus(
            rollout_id=case.rollout_id,
            rule=rule,
            steps=_steps(ballot, decisions, voting),
            valid_reviews=sum(r.ok for r in reviews),
            failed_reviews=sum(not r.ok for r in case.reviews),
            weights={r.reviewer: weights.get(r.reviewer, 1.0) for r in reviews if r.ok},
        )
        for case, reviews, ballot, decisions in zip(cases, asked, ballots, decided, strict=True)
    ]


def disputed_spans(reviews: Sequence[Review], end: int, **options: Any) -> list[Step]:
    """The spans on which a vote over this rollout alone is disputed, in order."""
    rule = options.get("rule", "majority")
    alone = {"rule": "majority" if rule == "dawid_skene" else rule, "partial": True}
    steps = consensus(reviews, end, **(options | alone)).steps
    return [Step(s.start, s.end) for s in steps if s.status == "disputed"]


def _by_votes(ballots: Sequence[Ballots], rule: str) -> list[list[Decision | None]]:
    return [[_count(votes, rule) if votes else None for votes in b.votes] for b in ballots]


def _count(votes: Sequence[Vote], rule: str) -> Decision:
    total = sum(vote.weight for vote in votes)
    wrong_share = sum(vote.weight for vote in votes if vote.verdict.wrong) / total
    labels: dict[Label, float] = defaultdict(float)
    for vote in votes:
        labels[vote.label] += vote.weight
    ranked = sorted(labels.items(), key=lambda item: (-item[1], -LABELS.index(item[0])))
    label, weight = ranked[0]
    tied = len(ranked) > 1 and ranked[1][1] == weight
    return Decision(label, weight / total, tied, _wrong(rule, wrong_share))


def _wrong(rule: str, share: float) -> float:
    if rule == "average":
        return share
    if rule == "union":
        return float(share > 0)
    if rule == "intersection":
        return float(share >= 1 - 1e-9)
    return float(share >= 0.5 - 1e-9)


def _panel(asked: Sequence[Sequence[Review]]) -> set[str]:
    return {review.reviewer for reviews in asked for review in reviews}


def _by_dawid_skene(
    ballots: Sequence[Ballots], weights: Mapping[str, float], panel: set[str]
) -> list[list[Decision | None]] | None:
    """Decisions from the posterior of one fit over all spans; None where too few voted."""
    check_panel("dawid_skene", panel)
    spans = [votes for ballot in ballots for votes in ballot.votes]
    names = sorted({vote.review.reviewer for votes in spans for vote in votes})
    if len(names) < MIN_REVIEWERS:
        return None
    # Sorted, since the order of the reviewers must not show even in the last digit.
    cast = sorted(
        (i, names.index(vote.review.reviewer), LABELS.index(vote.label))
        for i, votes in enumerate(spans)
        for vote in votes
    )
    item_V, reviewer_V, label_V = np.array(cast).T
    fit = dawid_skene(
        item_V,
        reviewer_V,
        label_V,
        items=len(spans),
        reviewers=len(names),
        classes=len(LABELS),
        weight_R=np.array([weights.get(name, 1.0) for name in names]),
    )
    decided: list[list[Decision | None]] = []
    start = 0
    for ballot in ballots:
        rows_SK = fit.posterior_IK[start : start + len(ballot.spans)]
        start += len(ballot.spans)
        pairs = zip(rows_SK, ballot.votes, strict=True)
        decided.append([_probable(row_K) if votes else None for row_K, votes in pairs])
    return decided


def _probable(posterior_K: np.ndarray) -> Decision:
    best = float(posterior_K.max())
    # The last of equals: of two equally probable labels the worse is named, as in a vote.
    tied = np.flatnonzero(posterior_K >= best - 1e-12)
    harmful = float(posterior_K[LABELS.index("harmful")])
    return Decision(LABELS[int(tied[-1])], best, len(tied) > 1, float(harmful >= 0.5))


def _steps(
    ballots: Ballots, decisions: Sequence[Decision | None], voting: Voting
) -> tuple[StepConsensus, ...]:
    steps = tuple(
        _step(span, votes, decision, voting)
        for span, votes, decision in zip(ballots.spans, ballots.votes, decisions, strict=True)
    )
    if not voting.partial and any(step.status == "disputed" for step in steps):
        steps = tuple(
            s.model_copy(update={"status": "disputed"}) if s.status == "agreed" else s
            for s in steps
        )
    return _with_dependencies(steps, ballots)


def _step(
    span: Step, votes: Sequence[Vote], decision: Decision | None, voting: Voting
) -> StepConsensus:
    families = {vote.family for vote in votes}
    enough = len(votes) >= max(1, voting.min_reviews) and len(families) >= voting.min_families
    if decision is None or not enough:
        return StepConsensus(start=span.start, end=span.end, status="unreviewed")
    backing = {vote.family for vote in votes if vote.label == decision.label}
    settled = (
        not decision.tied
        and decision.agreement >= voting.quorum - 1e-9
        and len(backing) >= voting.min_families
    )
    status: Status = "agreed" if settled else "disputed"
    focuses = [v.verdict.focus for v in votes if v.verdict.wrong and v.verdict.focus]
    return StepConsensus(
        start=span.start,
        end=span.end,
        status=status,
        label=decision.label,
        wrong=decision.wrong,
        agreement=decision.agreement,
        focus=_clip(focuses[0], span) if focuses else None,
        instead=_instead(votes, decision.label) if settled else "",
        votes={vote.name: vote.label for vote in votes},
    )


def _instead(votes: Sequence[Vote], label: Label) -> str:
    """What the first reviewer with the agreed label proposes in place of the step."""
    proposals = (vote.verdict.instead for vote in votes if vote.label == label)
    return next((text for text in proposals if text.strip()), "")


def _clip(focus: tuple[int, int], span: Step) -> tuple[int, int] | None:
    start, end = max(focus[0], span.start), min(focus[1], span.end)
    return (start, end) if start < end else None


def _with_dependencies(
    steps: tuple[StepConsensus, ...], ballots: Ballots
) -> tuple[StepConsensus, ...]:
    """Keep an edge between spans when more than half of the weight on the later one drew it."""
    linked = []
    for index, (step, votes) in enumerate(zip(steps, ballots.votes, strict=True)):
        total = sum(vote.weight for vote in votes)
        drawn: dict[int, float] = defaultdict(float)
        for vote in votes:
            sources = [vote.review.steps[d] for d in vote.verdict.depends_on]
            for earlier in range(index):
                if any(s.start <= ballots.spans[earlier].start < s.end for s in sources):
                    drawn[earlier] += vote.weight
        kept = tuple(sorted(e for e, weight in drawn.items() if weight > total / 2))
        linked.append(step.model_copy(update={"depends_on": kept}) if kept else step)
    return tuple(linked)
