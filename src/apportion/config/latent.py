"""What the objective ``latent`` can be told."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from apportion.config.latent_methods import AnswerMethod, Method, StepDecoderConfig
from apportion.config.section import Section


class LatentConfig(Section):
    """Objective latent: question, ``steps`` latent steps, answer, backpropagated through all steps.
    ``learning`` says how (a name, or a mapping with ``kind`` and its options): by default
    cross-entropy on the answer alone. An update learns from ``train.prompts_per_update`` problems;
    ``problems`` of them are drawn in all (default: new ones in every update).

    ``cell`` makes a step's input of the hidden state before it: a name of ``apportion ls cells``,
    or a mapping with ``kind`` and its options. ``window`` and ``norm`` are those of
    ``apportion.policies.latent.model.LatentModel``.

    ``truncate`` lets the gradient back through the last so many steps only, ``recompute`` trades
    time for memory in stretches of so many steps, and ``gradient_norm`` says what is done to the
    gradient at each step; see ``apportion.policies.latent.gradient.Bptt``. ``clip`` bounds the
    norm of the whole gradient (0: not bounded). The learning rate rises over
    ``train.warmup_updates`` and then follows ``schedule``.
    """

    learning: Method = AnswerMethod()
    step_decoder: StepDecoderConfig = StepDecoderConfig()
    cell: dict[str, Any] = Field(default_factory=lambda: {"kind": "mlp"})
    steps: int = Field(default=6, ge=0)
    window: int = Field(default=0, ge=0)
    norm: Literal["off", "embedding"] = "off"
    truncate: int = Field(default=0, ge=0)
    recompute: int = Field(default=0, ge=0)
    gradient_norm: Literal["off", "clip", "equal"] = "off"
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    weight_decay: float = Field(default=0.01, ge=0)
    clip: float = Field(default=1.0, ge=0)
    problems: int | None = Field(default=None, ge=1)

    @field_validator("cell", "learning", mode="before")
    @classmethod
    def _name_alone(cls, part: Any) -> Any:
        return {"kind": part} if isinstance(part, str) else part
