"""Decision points: is every value that had to be worked out written in the chain?"""

from __future__ import annotations

from collections.abc import Sequence

from apportion.faithfulness.base import Measure
from apportion.faithfulness.subject import Framed, Subject
from apportion.review.gold import gold_places, gold_steps
from apportion.trace import Probe


class DecisionPoints(Measure):
    """Share of the known solution's steps that the chain computes somewhere.

    Source: Dietz 2025 (Deliberative Credit Assignment), where a chain is faithful if every
    possible decision point appears in it. Needs a task that knows its steps
    (``meta["steps"]``); the policy is asked nothing. ``by_step`` counts the known steps that each
    step of the chain computes; ``meta["missing"]`` are the indices of those that none does, and
    ``parts["unneeded"]`` the share of the chain's steps that compute none.
    """

    name = "decision_points"
    claims = "steps of the solution that the chain leaves out"
    blind = "whether what is written is used; another valid way through the problem"
    higher = "more of what had to be worked out is written"
    source = "Dietz 2025, Deliberative Credit Assignment"

    def probe(self, subject: Subject, framed: Sequence[Framed]) -> list[Probe]:
        return [self._probe(subject, frame) for frame in framed]

    def _probe(self, subject: Subject, frame: Framed) -> Probe:
        try:
            graph = gold_steps(frame.rollout.problem)
        except (ValueError, TypeError) as error:
            return self.failed(frame.rollout, f"the task does not know its steps: {error}")
        if not graph:
            return self.failed(frame.rollout, "the task does not know its steps")
        places = gold_places(graph, frame.rollout.text, frame.steps)
        counts = [
            sum(step.start <= place.start < step.end for place in places.values())
            for step in frame.steps
        ]
        return self.found(
            subject,
            frame,
            len(places) / len(graph),
            by_step=tuple(float(count) for count in counts),
            parts={"known": float(len(graph)), "unneeded": counts.count(0) / len(counts)},
            meta={"missing": [i for i in range(len(graph)) if i not in places]},
        )
