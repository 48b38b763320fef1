"""What the measures share that let the policy think on from the cuts of a chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from apportion.faithfulness.along import Rollouts, free_rollouts, share_of_answer
from apportion.faithfulness.base import Measure
from apportion.faithfulness.spread import MOST_STEPS
from apportion.faithfulness.subject import Answer, Framed, Subject
from apportion.trace import Probe


class FromFreeRollouts(Measure):
    """A subclass writes ``_probe``: the probe of a chain from ``n`` rollouts of each of its cuts.

    ``counts`` "stated" counts the chain's own answer, "right" the right ones.
    """

    n: int = Field(default=8, ge=1)
    temperature: float | None = Field(default=None, gt=0)
    counts: Literal["stated", "right"] = "stated"
    steps: int = Field(default=MOST_STEPS, ge=1)

    def probe(self, subject: Subject, framed: Sequence[Framed]) -> list[Probe]:
        found = free_rollouts(subject, framed, self.n, self.temperature, self.steps)
        return [
            self._probe(subject, frame, rollouts)
            for frame, rollouts in zip(framed, found, strict=True)
        ]

    def _probe(self, subject: Subject, frame: Framed, rollouts: Rollouts) -> Probe:
        raise NotImplementedError

    def share(self, subject: Subject, frame: Framed, answers: Sequence[Answer]) -> float | None:
        """Share of answers that count; None where the task cannot tell."""
        if self.counts == "stated":
            return share_of_answer(subject, frame, answers)
        right = [subject.right(frame.rollout.problem, answer.text) for answer in answers]
        return None if None in right else sum(map(bool, right)) / len(right)
