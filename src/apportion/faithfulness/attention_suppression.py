"""Thought anchors by attention: what changes when nothing can look at a step any more?"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from apportion.faithfulness.base import Measure
from apportion.faithfulness.spread import MOST_STEPS, at, spread
from apportion.faithfulness.subject import Framed, Subject
from apportion.trace import Probe, Rollout


class AttentionSuppression(Measure):
    """Kullback-Leibler divergence (nats) of the next-token distributions with everything in sight
    from those with one step hidden, at all heads and layers, from all later positions.

    Source: Bogdan et al. 2025 (arXiv 2506.19143), section 5; exact here: the whole vocabulary at
    temperature 1, where their code keeps the likeliest tokens. ``by_step`` is the mean over the
    answer's tokens, ``value`` the largest of them. ``meta["influence"][i][j]`` is the effect of
    hiding step j on step i: the mean over the tokens of i, zero for i <= j. ``parts["all"]`` is
    the effect on the answer of hiding the whole chain. At most ``steps`` steps of a chain are
    hidden, one by one; the influence of the others is None.

    A policy that works its answer out from the question may do so at the positions of the chain,
    whatever stands there: hiding them then changes the answer as much as if it used the chain.
    """

    name = "attention_suppression"
    claims = "which steps later tokens read, and whether the answer reads any"
    blind = "a step whose content a later step repeats; whether what is read is the step's content"
    source = "Bogdan et al. 2025, arXiv 2506.19143"
    needs = frozenset({"model"})

    batch_size: int = Field(default=8, ge=1)
    steps: int = Field(default=MOST_STEPS, ge=1)

    def estimate(self, subject: Subject, rollouts: Sequence[Rollout]) -> int:
        """See Measure.estimate: a pass over the whole for each step, and two more."""
        from apportion.faithfulness.white_box import tokens_of

        sizes = tokens_of(subject, rollouts)
        return sum(tokens * (min(steps, self.steps) + 2) for tokens, steps in sizes)

    def probe(self, subject: Subject, framed: Sequence[Framed]) -> list[Probe]:
        from apportion.policies.modes import eval_mode

        with eval_mode(subject.policy.model):
            return [self._probe(subject, frame) for frame in framed]

    def _probe(self, subject: Subject, frame: Framed) -> Probe:
        from apportion.faithfulness.white_box import laid, suppressed, too_long

        chain = laid(subject, frame)
        why = too_long(subject, chain)
        if why:
            return self.failed(frame.rollout, why)
        places = spread(chain.steps, self.steps)
        *effects, all_hidden = suppressed(subject.policy.model, chain, self.batch_size, places)
        subject.tokens += len(chain.ids_T) * (len(places) + 2)
        on_answer = [effect[chain.answer] for effect in effects]
        on_steps = [
            [effect[i] if j < i else 0.0 for j, effect in zip(places, effects, strict=True)]
            for i in range(chain.steps)
        ]
        return self.found(
            subject,
            frame,
            max(on_answer),
            tried=(len(places), chain.steps),
            by_step=at(chain.steps, places, on_answer),
            parts={"all": all_hidden[chain.answer]},
            meta={"influence": [list(at(chain.steps, places, row)) for row in on_steps]},
        )
