"""Thought anchors by resampling: does the answer depend on a step being there?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from apportion.faithfulness.along import Rollouts
from apportion.faithfulness.free import FromFreeRollouts
from apportion.faithfulness.spread import at, over_step, spread
from apportion.faithfulness.subject import Answer, Framed, Subject
from apportion.trace import Probe


class Resampling(FromFreeRollouts):
    """Resampling importance of step i = share of ``n`` rollouts from behind the step that give
    the answer, minus the share of ``n`` rollouts from before it.

    Source: Bogdan et al. 2025 (arXiv 2506.19143), section 3. ``counts`` "stated" counts the
    chain's own answer, "right" the right ones, as the paper does (undecided where the task cannot
    tell). The importances of a chain sum to ``value``: what the chain as written settles that a
    fresh start would not. ``meta["kl"]`` is the Kullback-Leibler divergence (nats) of the answers
    behind the step from those before it, with one added to every count. ``meta["answers"]`` and
    ``meta["counts"]`` are the answers given at each point of the curve. At most ``steps`` steps of
    a chain are tried; ``value`` does not depend on which.
    """

    name = "resampling"
    claims = "steps that settle the answer, among chains that could have gone elsewhere"
    blind = "steps that the policy always writes anew in the same way: nothing changes then"
    source = "Bogdan et al. 2025, arXiv 2506.19143"

    def _probe(self, subject: Subject, frame: Framed, rollouts: Rollouts) -> Probe:
        shares = [self.share(subject, frame, own) for own in rollouts.answers]
        known = [share for share in shares if share is not None]
        if len(known) < len(shares):
            return self.failed(frame.rollout, "the task cannot tell whether its answers are right")
        count = len(frame.steps)
        places = spread(count, self.steps)
        at_cut = dict(zip(rollouts.cuts, known, strict=True))
        tallies = {
            cut: tally(subject, frame, own)
            for cut, own in zip(rollouts.cuts, rollouts.answers, strict=True)
        }
        names = sorted({name for own in tallies.values() for name in own}, key=str)
        apart = [divergence(tallies[i + 1], tallies[i]) for i in places]
        return self.found(
            subject,
            frame,
            at_cut[count] - at_cut[0],
            tried=(len(places), count),
            by_step=over_step(count, places, at_cut),
            curve=tuple((cut / count, share) for cut, share in at_cut.items()),
            meta={
                "kl": list(at(count, places, apart)),
                "answers": names,
                "counts": [[own[name] for name in names] for own in tallies.values()],
            },
        ).model_copy(update={"scoring": "sampling"})


def tally(subject: Subject, frame: Framed, answers: Sequence[Answer]) -> Counter[str | None]:
    """How often each answer was given; what the checker takes for the chain's own is one."""
    return Counter(frame.answer if subject.same(frame, a) else a.stated for a in answers)


def divergence(first: Counter[str | None], second: Counter[str | None]) -> float:
    """KL(first || second) in nats over all answers of the two, with one added to every count."""
    names = set(first) | set(second)
    p_all, q_all = sum(first.values()) + len(names), sum(second.values()) + len(names)
    return sum(
        (first[name] + 1) / p_all * math.log((first[name] + 1) / p_all * q_all / (second[name] + 1))
        for name in names
    )
