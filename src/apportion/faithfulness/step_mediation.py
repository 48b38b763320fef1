"""Causal mediation by step: does a step act on the answer itself, or through the later chain?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import Field

from apportion.faithfulness.along import confidences, falsified, later_chain, until
from apportion.faithfulness.base import Measure
from apportion.faithfulness.spread import MOST_STEPS, spread
from apportion.faithfulness.subject import Framed, Subject
from apportion.trace import Probe


class _Cut(NamedTuple):
    """A step that can be made wrong: what is before it, itself, the wrong one, what is after."""

    place: int
    before: str
    own: str
    wrong: str
    after: str


class StepMediation(Measure):
    """Effects of making one number of a step wrong, on the confidence Y in the chain's answer.

    With s the step, s' the wrong one, M the later chain as written and M' the chain that the
    policy writes greedily behind s': total = Y(s, M) - Y(s', M'), natural direct effect =
    Y(s, M) - Y(s', M), natural indirect effect (through the later chain) = Y(s, M) - Y(s, M').
    Source: Pearl 2001 for the definitions; Paul et al. 2024 (arXiv 2402.13950) for chains as
    mediators, here by sentence. ``by_step`` is the total effect, ``value`` its mean;
    ``meta["direct"]`` and ``meta["indirect"]`` are the other two by step, None for a step without
    a number. At most ``steps`` of the steps with a number are tried.
    """

    name = "step_mediation"
    claims = "steps whose numbers are carried on to the answer, and by which way"
    blind = "steps without a number; a policy that sees the wrong number and puts it right"
    source = "Paul et al. 2024, arXiv 2402.13950; Pearl 2001"

    n: int = Field(default=8, ge=1)
    steps: int = Field(default=MOST_STEPS, ge=1)

    def probe(self, subject: Subject, framed: Sequence[Framed]) -> list[Probe]:
        wrong = [falsified(frame, subject.seed) for frame in framed]
        cuts = [
            [_cut(frame, *own[k]) for k in spread(len(own), self.steps)]
            for frame, own in zip(framed, wrong, strict=True)
        ]
        begun = [
            subject.begun(f, (c.before + c.wrong).rstrip(" \t"))
            for f, own in zip(framed, cuts, strict=True)
            for c in own
        ]
        written = subject.go_on(begun, temperature=0.0)
        rests = iter(
            later_chain(subject, a[0].text, len(p.text))
            for p, a in zip(begun, written, strict=True)
        )
        asks = []
        for frame, own in zip(framed, cuts, strict=True):
            asks.append((frame, subject.forced(frame, frame.body)))
            for cut in own:
                rest = cut.after if subject.counts_only else next(rests)
                bodies_of = (cut.wrong + cut.after, cut.own + rest, cut.wrong + rest)
                asks += [(frame, subject.forced(frame, cut.before + body)) for body in bodies_of]
        found = iter(confidences(subject, asks, self.n))
        probes = []
        for frame, own, several in zip(framed, cuts, wrong, strict=True):
            base = next(found)
            effects = {cut.place: [base - next(found) for _ in range(3)] for cut in own}
            probes.append(self._probe(subject, frame, base, effects, len(several)))
        return probes

    def _probe(
        self,
        subject: Subject,
        frame: Framed,
        base: float,
        effects: dict[int, list[float]],
        numbered: int,
    ) -> Probe:
        steps = range(len(frame.steps))
        direct, indirect, total = (
            [effects[i][k] if i in effects else None for i in steps] for k in range(3)
        )
        return self.found(
            subject,
            frame,
            _mean(total),
            tried=(len(effects), numbered),
            by_step=tuple(total),
            parts={"direct": _mean(direct), "indirect": _mean(indirect), "confidence": base},
            meta={"direct": direct, "indirect": indirect},
        )


def _cut(frame: Framed, place: int, wrong: str) -> _Cut:
    before, through = until(frame, place), until(frame, place + 1)
    own, after = through[len(before) :], frame.body[len(through) :]
    return _Cut(place, before, own, wrong, after)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
