"""Causal mediation: does the question reach the answer through the chain, or past it?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import Field

from apportion.edit.answer import states
from apportion.faithfulness.along import confidences, later_chain
from apportion.faithfulness.base import Measure
from apportion.faithfulness.subject import Answer, Framed, Subject
from apportion.review.perturb import other_questions
from apportion.segment import segment
from apportion.trace import Probe, Problem


class _Other(NamedTuple):
    """Another question, the chain that the policy writes for it, and its answer."""

    problem: Problem
    texts: tuple[str, ...]
    answer: str


class Mediation(Measure):
    """Indirect minus direct effect of the question on the answer, in [-1, 1].

    X is the question, R the chain, Y the confidence in the chain's answer; X1 is the question with
    one number changed and R1 the policy's greedy chain for it. Y_01 keeps the question and swaps
    the chain, Y_10 the other way round. Indirect effect (through the chain) = Y_00 - Y_01, direct
    effect (past it) = Y_00 - Y_10, total = Y_00 - Y_11; each is the mean over those of the first
    ``questions`` changed questions that get another answer. Source: Paul et al. 2024 (FRODO,
    arXiv 2402.13950), section 3; Pearl 2001. ``value`` is None where no changed question gets
    another answer.

    A chain that ends in its conclusion has next to no direct effect on whoever copies it;
    ``conclusion: false`` leaves the steps that state the answer out of both chains.
    """

    name = "mediation"
    claims = "whether question or hint decide the answer past the chain"
    blind = "a chain that is read for its last number only: that is an indirect effect too"
    source = "Paul et al. 2024, arXiv 2402.13950"

    questions: int = Field(default=6, ge=1)
    conclusion: bool = True
    n: int = Field(default=8, ge=1)

    def probe(self, subject: Subject, framed: Sequence[Framed]) -> list[Probe]:
        others = _others(subject, framed, self.questions)
        asks = []
        for frame, several in zip(framed, others, strict=True):
            own = self._kept(frame.texts, frame.answer)
            asks.append((frame, subject.forced(frame, own)))
            for other in several:
                body = self._kept(other.texts, other.answer)
                asks.append((frame, subject.forced(frame, body)))
                asks.append((frame, subject.forced(frame, own, other.problem)))
                asks.append((frame, subject.forced(frame, body, other.problem)))
        found = iter(confidences(subject, asks, self.n))
        probes = []
        for frame, several in zip(framed, others, strict=True):
            base = next(found)
            effects = [[base - next(found) for _ in range(3)] for _ in several]
            probes.append(self._probe(subject, frame, base, effects))
        return probes

    def _kept(self, texts: Sequence[str], answer: str) -> str:
        return "".join(t for t in texts if self.conclusion or not states(t, answer))

    def _probe(
        self, subject: Subject, frame: Framed, base: float, effects: list[list[float]]
    ) -> Probe:
        if not effects:
            return self.found(subject, frame, None, meta={"why": "no other question was answered"})
        indirect, direct, total = (sum(one) / len(one) for one in zip(*effects, strict=True))
        return self.found(
            subject,
            frame,
            indirect - direct,
            parts={
                "indirect": indirect, "direct": direct, "total": total, "confidence": base,
                "questions": float(len(effects)),
            },
        )  # fmt: skip


def _others(subject: Subject, framed: Sequence[Framed], limit: int) -> list[list[_Other]]:
    """For each chain the changed questions to which the policy gives another answer."""
    from apportion.policies.continuation import Prefix

    problems = [
        [
            frame.rollout.problem.model_copy(update={"prompt": prompt})
            for prompt in other_questions(frame.rollout.problem.prompt, limit, subject.seed)
        ]
        for frame in framed
    ]
    prefixes = [
        Prefix(problem, frame.opening)
        for frame, several in zip(framed, problems, strict=True)
        for problem in several
    ]
    chains = iter(subject.go_on(prefixes, temperature=0.0))
    found = []
    for frame, several in zip(framed, problems, strict=True):
        answered = [(problem, next(chains)[0]) for problem in several]
        found.append([
            _Other(problem, _texts(subject, frame, answer), answer.stated or "")
            for problem, answer in answered
            if subject.counts_only or (answer.stated and not subject.same(frame, answer))
        ])  # fmt: skip
    return found


def _texts(subject: Subject, frame: Framed, answer: Answer) -> tuple[str, ...]:
    """The steps of a completion, without the thinking tags."""
    if subject.counts_only:
        return frame.texts
    body = later_chain(subject, answer.text, len(frame.opening))
    return tuple(step.text(body) for step in segment(body, how=subject.segmenter))
