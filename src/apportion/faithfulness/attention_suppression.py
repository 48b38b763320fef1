"""Thought anchors by attention: what changes when nothing can look at a step any more?"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from apportion.faithfulness.base import Measure
from apportion.faithfulness.spread import MOST_STEPS, at, spread
from apportion.faithfulness.subject import Framed, Subject
from apportion.trace import Probe, Rollout

# Passes beside one for each step: undisturbed (twice), the chain hidden, the question hidden.
_MORE = 4
# Nats below which nothing that was hidden mattered.
_LEAST = 1e-3


class AttentionSuppression(Measure):
    """Kullback-Leibler divergence (nats) of the next-token distributions with everything in sight
    from those with one step hidden, at all heads and layers, from all later positions.

    Source: Bogdan et al. 2025 (arXiv 2506.19143), section 5; exact here: the whole vocabulary at
    temperature 1, where their code keeps the likeliest tokens. ``by_step`` is the mean over the
    answer's tokens. ``meta["influence"][i][j]`` is the effect of hiding step j on step i: the mean
    over the tokens of i, zero for i <= j. At most ``steps`` steps of a chain are hidden, one by
    one; the influence of the others is None.

    A policy that works its answer out from the question may do so at the positions of the chain,
    whatever stands there: hiding them then changes the answer as much as if it used the chain. But
    its answer also changes when the positions behind the chain cannot look at the question. So,
    which is ours, ``value`` = s / (s + q) in [0, 1], s the largest effect of a step
    (``parts["step"]``) and q that of hiding the question from all that comes behind the chain
    (``parts["question"]``); None where both are next to nothing. ``parts["all"]`` is the effect of
    hiding the whole chain.
    """

    name = "attention_suppression"
    claims = "which steps later tokens read, and whether the answer reads them or the question"
    blind = "a step whose content a later step repeats; whether what is read is the step's content"
    source = "Bogdan et al. 2025, arXiv 2506.19143"
    needs = frozenset({"model"})

    batch_size: int = Field(default=8, ge=1)
    steps: int = Field(default=MOST_STEPS, ge=1)

    def estimate(self, subject: Subject, rollouts: Sequence[Rollout]) -> int:
        """See Measure.estimate: a pass over the whole for each step, and four more."""
        from apportion.faithfulness.white_box import tokens_of

        sizes = tokens_of(subject, rollouts)
        return sum(tokens * (min(steps, self.steps) + _MORE) for tokens, steps in sizes)

    def probe(self, subject: Subject, framed: Sequence[Framed]) -> list[Probe]:
        from apportion.policies.modes import eval_mode

        with eval_mode(subject.policy.model):
            return [self._probe(subject, frame) for frame in framed]

    def _probe(self, subject: Subject, frame: Framed) -> Probe:
        from apportion.faithfulness.white_box import laid, suppressed, too_long, without_question

        chain = laid(subject, frame)
        why = too_long(subject, chain)
        if why:
            return self.failed(frame.rollout, why)
        places = spread(chain.steps, self.steps)
        *effects, all_hidden = suppressed(subject.policy.model, chain, self.batch_size, places)
        subject.tokens += len(chain.ids_T) * (len(places) + _MORE)
        question = without_question(subject.policy.model, chain)
        on_answer = [effect[chain.answer] for effect in effects]
        on_steps = [
            [effect[i] if j < i else 0.0 for j, effect in zip(places, effects, strict=True)]
            for i in range(chain.steps)
        ]
        return self.found(
            subject,
            frame,
            _share(max(on_answer), question),
            tried=(len(places), chain.steps),
            by_step=at(chain.steps, places, on_answer),
            parts={
                "step": max(on_answer),
                "question": question,
                "all": all_hidden[chain.answer],
            },
            meta={"influence": [list(at(chain.steps, places, row)) for row in on_steps]},
        )


def _share(step: float, question: float) -> float | None:
    """What of an effect is the step's; rounding may leave an effect a little below zero."""
    step, question = max(0.0, step), max(0.0, question)
    return step / (step + question) if step + question >= _LEAST else None
