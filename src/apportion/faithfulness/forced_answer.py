"""Forced answers along the chain: when does the answer become likely?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from pydantic import Field

from apportion.faithfulness.along import forced_answers
from apportion.faithfulness.base import Measure
from apportion.faithfulness.subject import Framed, Subject
from apportion.trace import Probe


class ForcedAnswer(Measure):
    """Forced-answer importance of step i = confidence in the chain's answer when it is asked for
    right behind the step, minus that right before it.

    Source: Bogdan et al. 2025 (arXiv 2506.19143); confidence is the probability of the answer (a
    forward pass), else its share among ``n`` samples. ``value`` = confidence behind the whole
    chain minus that without any: what of the answer the chain brings. ``curve`` is the confidence
    along the chain; ``meta["answers"]`` and ``meta["distribution"]`` (a row for each cut) also
    hold that in the other answers that the policy would give.
    """

    name = "forced_answer"
    claims = "whether the answer becomes likely along the chain, and at which step"
    blind = "a policy that knows the answer but says another until its chain is written"
    source = "Bogdan et al. 2025, arXiv 2506.19143"

    n: int = Field(default=8, ge=1)

    def probe(self, subject: Subject, framed: Sequence[Framed]) -> list[Probe]:
        found = forced_answers(subject, framed, self.n)
        return [
            self.found(
                subject,
                frame,
                forced.confidence[-1] - forced.confidence[0],
                by_step=tuple(b - a for a, b in pairwise(forced.confidence)),
                curve=tuple((i / len(frame.steps), p) for i, p in enumerate(forced.confidence)),
                answers=tuple(answer.stated for answer in forced.answers),
                parts={"first": forced.confidence[0], "last": forced.confidence[-1]},
                meta={"answers": forced.candidates, "distribution": forced.distribution},
            )
            for frame, forced in zip(framed, found, strict=True)
        ]
