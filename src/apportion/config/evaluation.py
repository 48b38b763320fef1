"""Measuring beside and after training."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from apportion.config.section import Section

Split = Literal["train", "validation", "test"]


class EvalConfig(Section):
    """Held-out measurement every ``every`` updates (0: only at the end), greedy, and at the end
    also ``samples`` completions a problem for pass@k. ``showcase`` problems are sampled, reviewed
    and given every method's credit at the end, for the report. ``transfer`` is another task (say,
    longer problems), which the final policy is also measured on, as ``transfer/...``.
    ``answer_logprob`` also measures how likely the references are after a greedy chain. ``reach``
    is the accuracy whose price ``apportion compare`` states. ``trained_problems`` measures the gap
    between so many problems that were trained on and new ones."""

    every: int = Field(default=10, ge=0)
    problems: int = Field(default=200, ge=1)
    split: Split = "validation"
    samples: int = Field(default=0, ge=0)
    k: tuple[int, ...] = (1, 4, 8)
    final_split: Split = "test"
    final_problems: int = Field(default=500, ge=1)
    showcase: int = Field(default=4, ge=0)
    transfer: dict[str, Any] | None = None
    answer_logprob: bool = False
    trained_problems: int = Field(default=0, ge=0)
    reach: float = Field(default=0.5, gt=0, le=1)
    seed: int = 0

    @model_validator(mode="after")
    def _enough_samples(self) -> Self:
        if any(k < 1 for k in self.k):
            raise ValueError(f"k must be 1 or more, not {min(self.k)}")
        if self.samples and max(self.k, default=1) > self.samples:
            raise ValueError(
                f"pass@{max(self.k)} needs at least {max(self.k)} samples, not {self.samples}"
            )
        return self
