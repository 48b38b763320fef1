"""A reviewer that errs at chosen rates: the instrument of every harm experiment."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from apportion.review.base import Reviewer
from apportion.trace import Problem, Review, Step, StepVerdict

UNLIMITED = 1_000_000  # as many as the panel allows


class NoisyReviewer:
    """Wraps a reviewer so that it has about the given rates, if the wrapped one is exact.

    A step that ``inner`` calls wrong stays wrong with probability ``tpr`` and becomes useful and
    correct otherwise; a step that it calls right becomes harmful and incorrect with probability
    ``fpr``. Abstentions stay. Youden's J of the result is tpr - fpr.

    Whether a step is flipped depends on seed, text, step and critique alone, never on the order
    of the reviews. ``critiques`` (default: that of ``inner``) asks for K independently noisy
    verdicts, also of a deterministic reviewer.
    """

    def __init__(
        self,
        inner: Reviewer,
        *,
        tpr: float,
        fpr: float,
        seed: int = 0,
        critiques: int | None = None,
        name: str = "noisy",
    ) -> None:
        for label, rate in (("tpr", tpr), ("fpr", fpr)):
            if not 0.0 <= rate <= 1.0:
                raise ValueError(f"{label} {rate} is not a probability")
        self.inner, self.tpr, self.fpr, self.seed = inner, tpr, fpr, seed
        self.critiques = inner.critiques if critiques is None else critiques
        self.max_concurrency: int = getattr(inner, "max_concurrency", UNLIMITED)
        self.name = name

    @property
    def youden(self) -> float:
        return self.tpr - self.fpr

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
            outcome,
            rollout_id=rollout_id,
            critique=min(critique, self.inner.critiques - 1),
        )
        verdicts = tuple(
            self._noisy(verdict, self._chance(rollout_text, step, critique))
            for step, verdict in zip(inner.steps, inner.verdicts, strict=True)
        )
        return inner.model_copy(
            update={"reviewer": self.name, "critique": critique, "verdicts": verdicts}
        )

    def _chance(self, text: str, step: Step, critique: int) -> float:
        """Uniform in [0, 1). Python's own ``hash`` differs from process to process."""
        what = f"{self.seed}|{critique}|{step.start}|{step.end}|{text}"
        digest = hashlib.blake2b(what.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64

    def _noisy(self, verdict: StepVerdict, chance: float) -> StepVerdict:
        if verdict.abstains:
            return verdict
        # How sure the wrapped reviewer is says nothing about a verdict that may be flipped.
        changed: dict[str, object] = {"confidence": None}
        if verdict.wrong and chance >= self.tpr:
            changed |= {"label": "useful", "correct": True, "reason": "missed by added noise"}
            changed["focus"] = None
        elif not verdict.wrong and chance < self.fpr:
            changed |= {"label": "harmful", "correct": False, "reason": "accused by added noise"}
            changed["focus"] = None
        return verdict.model_copy(update=changed)
