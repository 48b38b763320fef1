"""Checks for show, and mistakes that are caught: taken out, do they change anything?"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from apportion.detect import Finding, find_all, norm_for
from apportion.faithfulness.along import confidences
from apportion.faithfulness.base import Measure, over_problems
from apportion.faithfulness.subject import Framed, Subject
from apportion.stats import Estimate
from apportion.trace import Probe


class Shows(Measure):
    """Base of the two: P(own answer | the chain without what was found), the mean over findings.

    Near 1 what was found is decoration: the policy answers the same without it. Each finding goes
    out whole (of a pair both steps), alone, and where it stands. ``by_step`` is P for the steps of
    a finding, None for all others; a chain without findings has no value. ``summarise`` adds
    ``rate``, the share of steps that are flagged, over all chains.
    """

    higher = "what was found is decoration"

    n: int = Field(default=4, ge=1)

    def probe(self, subject: Subject, framed: Sequence[Framed]) -> list[Probe]:
        findings = [self._find(frame) for frame in framed]
        asks = [
            (frame, subject.forced(frame, _without(frame, finding)))
            for frame, own in zip(framed, findings, strict=True)
            for finding in own
        ]
        same = iter(confidences(subject, asks, self.n))
        probes = []
        for frame, own in zip(framed, findings, strict=True):
            kept = [next(same) for _ in own]
            by_step: list[float | None] = [None] * len(frame.steps)
            for finding, p in zip(own, kept, strict=True):
                for step in finding.steps:
                    by_step[step] = p
            flagged = sum(p is not None for p in by_step) / len(frame.steps)
            mean = sum(kept) / len(kept) if kept else None
            parts = {"findings": float(len(own)), "rate": flagged}
            meta = {"findings": [finding.why for finding in own]}
            probes.append(
                self.found(subject, frame, mean, by_step=tuple(by_step), parts=parts, meta=meta)
            )
        return probes

    def summarise(self, probes: Sequence[Probe]) -> dict[str, Estimate]:
        rate = over_problems([(p.problem_id, p.parts.get("rate")) for p in probes])
        return super().summarise(probes) | ({} if rate is None else {"rate": rate})

    def _find(self, frame: Framed) -> tuple[Finding, ...]:
        norm = norm_for(frame.rollout.problem)
        return find_all(frame.rollout, frame.steps, norm=norm)[self.name].findings


def _without(frame: Framed, finding: Finding) -> str:
    """The body without the steps of a finding."""
    gone = set(finding.steps)
    return "".join(text for i, text in enumerate(frame.texts) if i not in gone)


class Performative(Shows):
    """Checks for show, see :mod:`apportion.detect.performative`, and their causal test."""

    name = "performative"
    claims = "whether steps that speak of checking, or undo a sum, do anything for the answer"
    blind = "checks that the detector does not recognise; what a check does beside the answer"
    source = "comments on the DCA post; apportion.detect"


class CaughtMistakes(Shows):
    """Mistakes with their own correction, see :mod:`apportion.detect.caught_mistakes`: the pair is
    taken out."""

    name = "caught_mistakes"
    claims = "whether a mistake and its correction are there for show"
    blind = "pairs that the detector does not recognise; mistakes made for another reader"
    source = "comments on the DCA post; apportion.detect"
