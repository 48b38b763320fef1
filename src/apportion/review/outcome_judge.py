"""An outcome-only judge: one verdict for the whole answer, spread over all of its steps.

The baseline that step credit has to beat at the same judging compute: whatever a judge can tell of
the steps is thrown away but for whether the answer, all in all, is right. Asked of a language
model directly, it is the prompt ``outcome`` of the reviewer ``llm``.
"""

from __future__ import annotations

from collections.abc import Sequence

from apportion.review.base import Reviewer
from apportion.trace import Problem, Review, Step, StepVerdict

UNLIMITED = 1_000_000  # as many as the panel allows


class OutcomeJudge:
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
        self.inner, self.show_outcome, self.name = inner, show_outcome, name
        self.critiques = inner.critiques
        self.max_concurrency: int = getattr(inner, "max_concurrency", UNLIMITED)

    async def review(
        self,
        problem: Problem,
        rollout_text: str,
        steps: Sequence[Step],
        outcome: float | None,
        *,
        rollout_id: str = "",
        critique: int = 0,
    ) -> Review:
        inner = await self.inner.review(
            problem,
            rollout_text,
            steps,
            outcome if self.show_outcome else None,
            rollout_id=rollout_id,
            critique=critique,
        )
        changed: dict[str, object] = {"reviewer": self.name}
        if inner.ok:
            verdict = whole_verdict(inner.verdicts)
            changed |= {"steps": tuple(steps), "verdicts": (verdict,) * len(steps)}
        return inner.model_copy(update=changed)

    async def aclose(self) -> None:
        """Close what the wrapped reviewer holds open."""
        close = getattr(self.inner, "aclose", None)
        if close is not None:
            await close()


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
