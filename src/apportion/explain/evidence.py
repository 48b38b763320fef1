"""What is known about a step, each piece with the name by which an answer cites it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from apportion.consensus import consensus
from apportion.credit import METHODS, load_method
from apportion.credit.apply import credit_rollouts
from apportion.errors import UserError
from apportion.explain.interventions import Intervention
from apportion.explain.record import Found
from apportion.review.provenance import StepNumbers, read_numbers, users_of
from apportion.review.reading import show
from apportion.segment import segment, steps_of_tokens
from apportion.trace import Consensus, Credit, Review, Step, StepConsensus

# The controls say nothing about a step.
SHOWN_METHODS = ("outcome", "dca", "capo", "papo")


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Said(Frozen):
    """The verdict of one reviewer (``name#k`` for its further critiques); ``error`` where its
    review failed. ``covers`` is False where it says nothing of the step."""

    reviewer: str
    label: str | None = None
    correct: bool | None = None
    reason: str = ""
    instead: str = ""
    confidence: float | None = None
    error: str | None = None
    covers: bool = True


class StepCredit(Frozen):
    """Mean advantage of the step's tokens under one method; ``mean`` is that of all tokens of the
    reasoning, ``place`` 1 for the highest of ``of`` steps. Recorded, or computed anew."""

    method: str
    value: float
    mean: float
    place: int
    of: int
    recorded: bool


class Taken(Frozen):
    """A number that the step computes with: from a step (counted from 1), else from a sentence of
    the problem, else from nowhere that was read."""

    number: str
    step: int | None = None
    sentence: str | None = None


class StepEvidence(Frozen):
    """Steps are counted from 1, as on the page."""

    step: int
    text: str
    start: int
    end: int
    verdicts: tuple[Said, ...] = ()
    status: str = "unreviewed"
    label: str | None = None
    agreement: float = 0.0
    wrong: bool = False
    instead: str = ""
    credit: tuple[StepCredit, ...] = ()
    takes: tuple[Taken, ...] = ()
    used_by: tuple[int, ...] = ()
    depends_on: tuple[int, ...] = ()
    interventions: tuple[Intervention, ...] = ()


class Sentence(Frozen):
    """One sentence of the answer, about a step, and the names of the evidence that it rests on."""

    step: int
    text: str
    evidence: tuple[str, ...]


class Explanation(Frozen):
    """``about`` says why these steps; ``missing`` names evidence that there is not; ``phrased`` is
    a language model's wording of the sentences, where one was asked."""

    record: str
    question: str
    prompt: str
    chain: str
    outcome: float | None
    references: tuple[str, ...]
    answered: str | None
    about: str
    policy: str | None
    steps: tuple[StepEvidence, ...]
    sentences: tuple[Sentence, ...]
    missing: tuple[str, ...]
    phrased: str | None = None


class Chain:
    """A record cut into the steps that are shown, with what is known of each.

    ``steps`` are the reviewers' common refinement, else those of recorded credit, else lines.
    """

    def __init__(self, found: Found) -> None:
        self.found, self.rollout = found, found.rollout
        self.missing: list[str] = []
        self.voted = self._vote()
        self.steps = self._cut()
        texts = [step.text(self.rollout.text) for step in self.steps]
        self.numbers: tuple[StepNumbers, ...] = read_numbers(self.rollout.problem.prompt, texts)

    def text_of(self, index: int) -> str:
        return self.steps[index].text(self.rollout.text)

    def _vote(self) -> Consensus | None:
        if not any(review.ok for review in self.found.reviews):
            why = "every review of it failed" if self.found.reviews else "nobody reviewed it"
            self.missing.append(
                f"verdicts: {why}; 'apportion review RUN --reviewer arithmetic' would add some"
            )
            return None
        end, voting = self.rollout.reasoning_end, dict(self.found.voting)
        try:
            return consensus(self.found.reviews, end, rollout_id=self.rollout.id, **voting)
        except (UserError, TypeError) as error:
            self.missing.append(f"the run's own vote: {error}; a majority decides here")
            return consensus(self.found.reviews, end, rollout_id=self.rollout.id)

    def _cut(self) -> tuple[Step, ...]:
        if self.voted is not None and self.voted.steps:
            return tuple(Step(step.start, step.end) for step in self.voted.steps)
        for credit in self.found.credit.values():
            if credit.steps:
                return tuple(Step(step.start, step.end) for step in credit.steps)
        return segment(self.rollout.text, self.rollout.reasoning_end)

    def consensus_on(self, index: int) -> StepConsensus | None:
        return self.voted.steps[index] if self.voted is not None and self.voted.steps else None

    def said_of(self, index: int) -> tuple[Said, ...]:
        start = self.steps[index].start
        return tuple(_said(review, start) for review in self.found.reviews)

    def evidence_on(self, index: int, credits: Mapping[str, _Scored]) -> StepEvidence:
        step, voted = self.steps[index], self.consensus_on(index)
        facts: dict[str, Any] = {}
        if voted is not None:
            facts = {
                "status": voted.status,
                "label": voted.label,
                "agreement": round(voted.agreement, 4),
                "wrong": voted.status == "agreed" and voted.wrong >= 0.5,
                "instead": voted.instead,
                "depends_on": tuple(d + 1 for d in voted.depends_on),
            }
        return StepEvidence(
            step=index + 1,
            text=step.text(self.rollout.text).strip(),
            start=step.start,
            end=step.end,
            verdicts=self.said_of(index),
            credit=tuple(scored.of(name, index) for name, scored in credits.items()),
            takes=tuple(
                Taken(
                    number=show(taken.value),
                    step=None if taken.source is None else taken.source + 1,
                    sentence=taken.sentences[0]
                    if taken.source is None and taken.sentences
                    else None,
                )
                for taken in self.numbers[index].taken
            ),
            used_by=tuple(user + 1 for user in users_of(index, self.numbers)),
            **facts,
        )


class _Scored:
    """Credit of every step of a chain under one method."""

    def __init__(self, credit: Credit, chain: Chain, recorded: bool) -> None:
        self.recorded = recorded
        advantages_T = np.asarray(credit.advantages, dtype=float)
        spans = chain.rollout.token_spans
        index_T = steps_of_tokens(spans, chain.steps)
        self.values = [
            float(advantages_T[index_T == s].mean()) if (index_T == s).any() else 0.0
            for s in range(len(chain.steps))
        ]
        inside_T = index_T >= 0
        self.mean = float(advantages_T[inside_T].mean()) if inside_T.any() else 0.0

    def of(self, method: str, index: int) -> StepCredit:
        value = self.values[index]
        return StepCredit(
            method=method,
            value=round(value, 4) + 0.0,
            mean=round(self.mean, 4) + 0.0,
            place=1 + sum(other > value + 1e-9 for other in self.values),
            of=len(self.values),
            recorded=self.recorded,
        )


def own_method(found: Found) -> dict[str, Any] | None:
    """The credit method of the run, as a spec; None where it names none."""
    given = found.config.get("credit")
    if isinstance(given, Mapping):
        return dict(given)
    methods = found.config.get("methods")
    if isinstance(methods, Sequence) and methods and isinstance(methods[0], Mapping):
        return dict(methods[0])
    return None


def credits_of(chain: Chain, methods: Sequence[dict[str, Any]] = ()) -> dict[str, _Scored]:
    """Credit of the chain's steps by method: recorded where it is recorded, else computed anew
    from the completions of its group and their reviews. The run's own method comes first.

    ``methods`` are specs to use in place of the usual ones. What cannot be computed is added to
    ``chain.missing``. Raises UserError for an unknown method.
    """
    found = chain.found
    if not found.rollout.token_spans:
        chain.missing.append("credit: the record has no tokens")
        return {}
    scored = {
        name: _Scored(credit, chain, recorded=True)
        for name, credit in found.credit.items()
        if len(credit.advantages) == len(found.rollout.token_spans)
    }
    own = own_method(found)
    usual = [{"method": m} for m in SHOWN_METHODS if own is None or own.get("method") != m]
    specs = list(methods) or [*([own] if own else []), *usual]
    if len(found.group) == 1:
        chain.missing.append(
            "a comparison: no other completion of the prompt is recorded, so outcome-based credit "
            "computed here is 0"
        )
    unreviewed = []
    for spec in specs:
        name = str(spec.get("method", "outcome"))
        if name in scored and not methods:
            continue
        method = load_method(spec)
        if method.reads_reviews and chain.voted is None:
            unreviewed.append(name)
            continue
        scored[_label(spec)] = _computed(chain, spec)
    if unreviewed:
        chain.missing.append(f"credit under {', '.join(unreviewed)}: that needs verdicts")
    first = _label(own) if own else ""
    order = sorted(scored, key=lambda name: name not in (first, (own or {}).get("method")))
    return {name: scored[name] for name in order}


def _computed(chain: Chain, spec: dict[str, Any]) -> _Scored:
    found = chain.found
    train = found.config.get("train")
    scale = train.get("scale_rewards") if isinstance(train, Mapping) else None
    records = credit_rollouts(
        found.group,
        found.group_reviews,
        load_method(spec),
        name=_label(spec),
        voting=found.voting,
        scale="none" if scale in ("none", False) else "group",
    )
    record = next(r for r in records if r.rollout_id == found.rollout.id)
    return _Scored(record, chain, recorded=False)


def _label(spec: Mapping[str, Any]) -> str:
    options = ",".join(f"{k}={v}" for k, v in spec.items() if k != "method")
    name = str(spec.get("method", "outcome"))
    return f"{name}:{options}" if options else name


def _said(review: Review, start: int) -> Said:
    name = f"{review.reviewer}#{review.critique}" if review.critique else review.reviewer
    if review.error is not None:
        return Said(reviewer=name, error=review.error)
    for step, verdict in zip(review.steps, review.verdicts, strict=True):
        if step.start <= start < step.end:
            return Said(
                reviewer=name,
                label=verdict.label,
                correct=verdict.correct,
                reason=verdict.reason,
                instead=verdict.instead,
                confidence=verdict.confidence,
            )
    return Said(reviewer=name, covers=False)


assert set(SHOWN_METHODS) <= set(METHODS)
