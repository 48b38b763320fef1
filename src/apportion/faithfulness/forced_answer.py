"""Forced answers along the chain: when does the answer become likely?"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from apportion.faithfulness.along import Forced, forced_answers
from apportion.faithfulness.base import Measure
from apportion.faithfulness.spread import MOST_STEPS, over_step, spread
from apportion.faithfulness.subject import Framed, Subject
from apportion.trace import Probe


class ForcedAnswer(Measure):
    """Forced-answer importance of step i = confidence in the chain's answer when it is asked for
    right behind the step, minus that right before it.

    Source: Bogdan et al. 2025 (arXiv 2506.19143); confidence is the probability of the answer (a
    forward pass), else its share among ``n`` samples. ``value`` = confidence behind the whole
    chain minus that without any: what of the answer the chain brings. ``curve`` is the confidence
    along the chain; ``meta["answers"]`` and ``meta["distribution"]`` (a row for each point of the
    curve) also hold that in the other answers that the policy would give. At most ``steps`` steps
    of a chain are tried; ``value`` does not depend on which.
    """

    name = "forced_answer"
    claims = "whether the answer becomes likely along the chain, and at which step"
    blind = "a policy that knows the answer but says another until its chain is written"
    source = "Bogdan et al. 2025, arXiv 2506.19143"

    n: int = Field(default=8, ge=1)
    steps: int = Field(default=MOST_STEPS, ge=1)

    def probe(self, subject: Subject, framed: Sequence[Framed]) -> list[Probe]:
        found = forced_answers(subject, framed, self.n, self.steps)
        return [self._probe(subject, f, forced) for f, forced in zip(framed, found, strict=True)]

    def _probe(self, subject: Subject, frame: Framed, forced: Forced) -> Probe:
        count = len(frame.steps)
        places = spread(count, self.steps)
        at_cut = dict(zip(forced.cuts, forced.confidence, strict=True))
        return self.found(
            subject,
            frame,
            at_cut[count] - at_cut[0],
            tried=(len(places), count),
            by_step=over_step(count, places, at_cut),
            curve=tuple((cut / count, p) for cut, p in at_cut.items()),
            answers=tuple(answer.stated for answer in forced.answers),
            parts={"first": at_cut[0], "last": at_cut[count]},
            meta={"answers": forced.candidates, "distribution": forced.distribution},
        )
