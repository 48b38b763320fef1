"""The update."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from apportion.config.section import Section

LossType = Literal["dr_grpo", "dapo", "grpo", "bnpo", "cispo", "sapo", "luspo", "vespo"]


class TrainConfig(Section):
    """The update. One update trains on prompts_per_update x group_size rollouts, ``epochs`` times.

    The learning rate rises over ``warmup_updates`` and then stays: Adam's first steps are as large
    as its later ones and know least.

    ``record_every`` updates the rollouts, reviews and credit are written (0: never), and
    ``checkpoint_every`` updates the whole state for --resume (0: never). ``trust`` "require"
    refuses reviewers that are not shown to be better than chance (the interval of Youden's J is
    not above 0) on the errors planted in ``trust_problems`` problems, at least six: an interval
    over fewer says nothing. A review that takes longer than ``review_timeout`` seconds has failed;
    where the policy reviews itself that includes waiting for its turn. With
    ``gradient_signal`` successive gradients are compared; that takes one copy of them.
    """

    updates: int = Field(default=50, ge=1)
    prompts_per_update: int = Field(default=16, ge=1)
    group_size: int = Field(default=8, ge=2)
    micro_batch: int | None = Field(default=None, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    warmup_updates: int = Field(default=0, ge=0)
    beta: float = Field(default=0.0, ge=0)
    loss_type: LossType = "dr_grpo"
    scale_rewards: Literal["group", "none"] = "group"
    temperature: float = Field(default=1.0, gt=0)
    max_completion_tokens: int = Field(default=256, ge=1)
    epochs: int = Field(default=1, ge=1)
    checkpoint_every: int = Field(default=0, ge=0)
    record_every: int = Field(default=10, ge=0)
    trust: Literal["require", "force"] = "require"
    trust_problems: int = Field(default=50, ge=6)
    review_timeout: float = Field(default=120.0, gt=0)
    threads: int | None = Field(default=None, ge=1)
    gradient_signal: bool = False

    @property
    def rollouts_per_update(self) -> int:
        return self.prompts_per_update * self.group_size

    @model_validator(mode="after")
    def _micro_batch_divides(self) -> Self:
        if self.micro_batch is not None and self.rollouts_per_update % self.micro_batch:
            raise ValueError(
                f"micro_batch {self.micro_batch} does not divide the {self.rollouts_per_update} "
                "rollouts of an update (prompts_per_update x group_size)"
            )
        return self
