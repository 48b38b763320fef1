"""What reviewers share that change what another one says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apportion.review.base import Reviewer
from apportion.trace import Problem, Review, Step

UNLIMITED = 1_000_000  # as many as the panel allows


class Wrapping:
    """Asks ``inner`` and makes a review of its own of what that says. A review that failed stays
    so."""

    def __init__(self, inner: Reviewer, name: str) -> None:
        self.inner, self.name = inner, name
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
            self.told(outcome),
            rollout_id=rollout_id,
            critique=critique,
        )
        changed = self.changed(problem, rollout_text, steps, inner) if inner.ok else {}
        return inner.model_copy(update={"reviewer": self.name, **changed})

    def told(self, outcome: float | None) -> float | None:
        """The outcome as the wrapped reviewer is told it."""
        return outcome

    def changed(
        self, problem: Problem, text: str, steps: Sequence[Step], inner: Review
    ) -> dict[str, Any]:
        """The fields of the review that differ from those of ``inner``."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close what the wrapped reviewer holds open."""
        close = getattr(self.inner, "aclose", None)
        if close is not None:
            await close()
