"""What objective ``warm_start`` can be told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from apportion.config.section import Section


class WarmStartConfig(Section):
    """Objective warm_start: a tiny policy from nothing, by supervised training on gold solutions
    until its held-out greedy accuracy reaches ``target_accuracy``. With ``decay`` the learning rate
    falls to 0 over all epochs. ``initializer_range`` is the standard deviation of the first
    weights: that of transformers is made for wide models, and a narrow one may begin to learn
    sooner from a larger one."""

    problems: int = Field(default=40_000, ge=1)
    target_accuracy: float = Field(default=0.45, gt=0, le=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    batch_size: int = Field(default=64, ge=1)
    epochs: int = Field(default=3, ge=1)
    check_every: int = Field(default=100, ge=1)
    check_problems: int = Field(default=200, ge=1)
    hidden_size: int = Field(default=128, ge=8)
    layers: int = Field(default=4, ge=1)
    initializer_range: float = Field(default=0.02, gt=0)
    vocab_size: int = Field(default=768, ge=64)
    numbers: Literal["digits", "whole"] = "digits"
    decay: bool = False
