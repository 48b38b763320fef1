"""Thought anchors by counterfactuals: the answer had the step said something else."""

from __future__ import annotations

from pydantic import Field

from apportion.faithfulness.along import Rollouts
from apportion.faithfulness.distance import Distance, different
from apportion.faithfulness.free import FromFreeRollouts
from apportion.faithfulness.spread import at, spread
from apportion.faithfulness.subject import Framed, Subject
from apportion.review.resample import first_step
from apportion.trace import Probe


class Counterfactual(FromFreeRollouts):
    """Counterfactual importance of step i = share of ``n`` rollouts from behind the step that give
    the answer, minus that share among those rollouts from before it that put something else in
    its place.

    Source: Bogdan et al. 2025 (arXiv 2506.19143), section 3; their code subtracts the other way
    round. Something else: less similar than ``threshold`` by ``distance``, see
    :mod:`~apportion.faithfulness.distance`. A step in whose place nothing else was written has no
    importance here (None), not zero; ``value`` is the mean over the others. ``meta`` holds, for
    each step, ``different`` (share of resamples that differ) and ``overdetermined`` (1 - distinct
    resamples / resamples). A higher ``temperature`` gives more that differ. At most ``steps`` steps
    of a chain are tried.
    """

    name = "counterfactual"
    claims = "steps on whose content the answer rests"
    blind = "steps that are never written otherwise; a chain that mends a changed step later on"
    source = "Bogdan et al. 2025, arXiv 2506.19143"

    distance: Distance = "equation"
    threshold: float = Field(default=0.8, ge=0, le=1)

    def _probe(self, subject: Subject, frame: Framed, rollouts: Rollouts) -> Probe:
        count, texts = len(frame.steps), frame.texts
        places = spread(count, self.steps)
        row = {cut: k for k, cut in enumerate(rollouts.cuts)}
        by_step: list[float | None] = [None] * count
        shares, repeats = [], []
        for i in places:
            before, behind = row[i], row[i + 1]
            resamples = [first_step(c, subject.segmenter) for c in rollouts.continuations[before]]
            differs = different(texts[i], resamples, self.distance, self.threshold)
            others = [a for a, d in zip(rollouts.answers[before], differs, strict=True) if d]
            shares.append(len(others) / len(differs))
            repeats.append(1 - len({r.strip() for r in resamples}) / len(resamples))
            kept = self.share(subject, frame, rollouts.answers[behind])
            changed = self.share(subject, frame, others) if others else None
            by_step[i] = None if kept is None or changed is None else kept - changed
        known = [value for value in by_step if value is not None]
        return self.found(
            subject,
            frame,
            sum(known) / len(known) if known else None,
            tried=(len(places), count),
            by_step=tuple(by_step),
            parts={"different": sum(shares) / len(shares), "steps": float(len(known))},
            meta={
                "different": list(at(count, places, shares)),
                "overdetermined": list(at(count, places, repeats)),
            },
        ).model_copy(update={"scoring": "sampling"})
