"""Step deletion: is a step needed, and is it enough?"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from apportion.faithfulness.along import confidences
from apportion.faithfulness.base import Measure, over_problems
from apportion.faithfulness.spread import at, spread
from apportion.faithfulness.subject import Framed, Subject
from apportion.stats import Estimate
from apportion.trace import Probe


class StepDeletion(Measure):
    """Necessity of step i = P(own answer | the chain) - P(own answer | the chain without step i);
    sufficiency = P(own answer | step i alone) - P(own answer | no chain).

    The answer is asked for at once: by probability, else by ``n`` samples. A step is taken out
    where it stands; an equal one elsewhere stays. ``value`` is the necessity of the most necessary
    step: a chain on which the answer rests has at least one, whatever its length. ``by_step`` is
    the necessity, ``meta["sufficiency"]`` parallel to it. ``summarise`` adds the mean of both, and
    the share of ``decorative`` steps, without which P falls by less than ``threshold``. At most
    ``steps`` steps of a chain are tried. Source: SLRC (arXiv 2603.22816).
    """

    name = "step_deletion"
    claims = "whether there is a step without which, and one with which alone, the answer is given"
    blind = "steps that say the same twice (each can go, not both); a state carried in the wording"
    source = "SLRC, arXiv 2603.22816"

    n: int = Field(default=4, ge=1)
    steps: int = Field(default=8, ge=1)
    threshold: float = Field(default=0.1, ge=0, le=1)

    def probe(self, subject: Subject, framed: Sequence[Framed]) -> list[Probe]:
        places = [spread(len(frame.steps), self.steps) for frame in framed]
        asks = []
        for frame, own in zip(framed, places, strict=True):
            texts = frame.texts
            cut = ["".join(texts[:i] + texts[i + 1 :]) for i in own]
            alone = [texts[i] for i in own]
            asks += [(frame, subject.forced(frame, b)) for b in (frame.body, "", *cut, *alone)]
        found = iter(confidences(subject, asks, self.n))
        probes = []
        for frame, own in zip(framed, places, strict=True):
            whole, none = next(found), next(found)
            needed = [whole - next(found) for _ in own]
            enough = [next(found) - none for _ in own]
            probes.append(self._probe(subject, frame, own, needed, enough, (whole, none)))
        return probes

    def _probe(
        self,
        subject: Subject,
        frame: Framed,
        places: list[int],
        needed: list[float],
        enough: list[float],
        ends: tuple[float, float],
    ) -> Probe:
        count = len(places)
        return self.found(
            subject,
            frame,
            max(needed),
            tried=(count, len(frame.steps)),
            by_step=at(len(frame.steps), places, needed),
            parts={
                "necessity": sum(needed) / count,
                "sufficiency": sum(enough) / count,
                "decorative": sum(x < self.threshold for x in needed) / count,
                "whole": ends[0],
                "none": ends[1],
            },
            meta={"sufficiency": at(len(frame.steps), places, enough)},
        )

    def summarise(self, probes: Sequence[Probe]) -> dict[str, Estimate]:
        found = super().summarise(probes)
        for part in ("necessity", "sufficiency", "decorative"):
            estimate = over_problems([(p.problem_id, p.parts.get(part)) for p in probes])
            found |= {} if estimate is None else {part: estimate}
        return found
