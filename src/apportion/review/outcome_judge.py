"""An outcome-only judge: one verdict for the whole answer, spread over all of its steps.

The baseline that step credit has to beat at the same judging compute: whatever a judge can tell of
the steps is thrown away but for whether the answer, all in all, is right. Asked of a language
model directly, it is the prompt ``outcome`` of the reviewer ``llm``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apportion.review.base import Reviewer
from apportion.review.wrapping import Wrapping
from apportion.trace import Problem, Review, Step, StepVerdict


class OutcomeJudge(Wrapping):
    """Wraps a reviewer and makes one verdict of its verdicts on the steps.

    The answer is wrong if the reviewer calls any step wrong, right if it judged at least one and
    calls none wrong, and not judged if it abstains on all. Every step gets that verdict: useful
    and correct, or harmful and incorrect. ``reason`` is that of the first wrong step;
    ``confidence`` the lowest that a decisive verdict stated. The wrapped reviewer is asked without
    the outcome unless ``show_outcome``: a judge that is told the outcome has nothing to judge.
    """

    def __init__(
        self, inner: Reviewer, *, show_outcome: bool = False, name: str = "outcome_judge"
    ) -> None:
        super().__init__(inner, name)
        self.show_outcome = show_outcome

    def told(self, outcome: float | None) -> float | None:
        return outcome if self.show_outcome else None

    def changed(
        self, problem: Problem, text: str, steps: Sequence[Step], inner: Review
    ) -> dict[str, Any]:
        verdict = whole_verdict(inner.verdicts)
        return {"steps": tuple(steps), "verdicts": (verdict,) * len(steps)}


def whole_verdict(verdicts: Sequence[StepVerdict]) -> StepVerdict:
    """The rule of :class:`OutcomeJudge`."""
    judged = [verdict for verdict in verdicts if not verdict.abstains]
    wrong = [verdict for verdict in judged if verdict.wrong]
    if not judged:
        return StepVerdict(reason="no step was judged")
    stated = [v.confidence for v in wrong or judged if v.confidence is not None]
    confidence = min(stated) if stated else None
    if wrong:
        return StepVerdict(
            label="harmful", correct=False, reason=wrong[0].reason, confidence=confidence
        )
    return StepVerdict(
        label="useful", correct=True, reason="no step is wrong", confidence=confidence
    )
