"""A reviewer that errs at chosen rates: the instrument of every harm experiment."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from apportion.review.base import Reviewer
from apportion.review.others import verdicts_on
from apportion.review.wrapping import UNLIMITED
from apportion.trace import Label, Problem, Review, Step, StepVerdict, Usage


class NoisyReviewer:
    """Wraps a reviewer so that it has about the given rates, if the wrapped one is exact.

    A step that ``inner`` calls wrong stays wrong with probability ``tpr`` and becomes useful and
    correct otherwise; a step that it calls right becomes harmful and incorrect with probability
    ``fpr``. Abstentions stay. Youden's J of the result is tpr - fpr.

    Whether a step is flipped depends on seed, text, step and critique alone, never on the order
    of the reviews. ``critiques`` (default: that of ``inner``) asks for K independently noisy
    verdicts, also of a deterministic reviewer. In cross-examination a verdict against which most
    of the others stand yields to theirs with probability ``yields``, whoever is right.
    """

    def __init__(
        self,
        inner: Reviewer,
        *,
        tpr: float,
        fpr: float,
        seed: int = 0,
        critiques: int | None = None,
        yields: float = 0.0,
        name: str = "noisy",
    ) -> None:
        for label, rate in (("tpr", tpr), ("fpr", fpr), ("yields", yields)):
            if not 0.0 <= rate <= 1.0:
                raise ValueError(f"{label} {rate} is not a probability")
        self.inner, self.tpr, self.fpr, self.seed = inner, tpr, fpr, seed
        self.yields = yields
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

    async def reconsider(
        self,
        problem: Problem,
        rollout_text: str,
        steps: Sequence[Step],
        outcome: float | None,
        others: Sequence[Review],
        *,
        own: Review,
        rollout_id: str = "",
        critique: int = 0,
    ) -> Review:
        verdicts = list(own.verdicts)
        for index, (step, verdict) in enumerate(zip(own.steps, own.verdicts, strict=True)):
            against = [v for _, v in verdicts_on(step, others) if v.wrong != verdict.wrong]
            for_it = [v for _, v in verdicts_on(step, others) if v.wrong == verdict.wrong]
            if verdict.abstains or len(against) <= len(for_it):
                continue
            if self._chance(f"yields|{rollout_text}", step, critique) < self.yields:
                counts: Counter[Label | None] = Counter(v.label for v in against)
                most = sorted(counts, key=lambda label: (counts[label], label or ""))
                verdicts[index] = StepVerdict(
                    label=most[-1],
                    correct=not against[0].wrong,
                    depends_on=verdict.depends_on,
                    reason="yielded to most of the others",
                )
        return own.model_copy(update={"verdicts": tuple(verdicts), "usage": Usage()})

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
