"""What the objective ``flow`` can be told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from apportion.config.section import Section


class FlowConfig(Section):
    """Objective flow: a thought of ``width`` vectors is moved by a learned velocity field in
    ``steps`` Euler steps (0: the decoder answers from where the thought starts), and the answer is
    decoded from it alone; see ``apportion.policies.flow.model``. ``heads`` and ``hidden`` are
    sizes of the field.

    ``learning`` "through" learns everything by -log p(answer | end), through all steps.
    "regression" learns start and decoder so too, but no gradient passes the field: that learns,
    by mean squared error, the gradient of log p(answer | z) at each point, its norm cut to 1, times
    ``reach``. With ``start_weight`` so much of -log p(answer | start) is added, so that the decoder
    also reads a thought that has not moved.

    An update learns from ``train.prompts_per_update`` problems; ``problems`` of them are drawn in
    all (default: new ones in every update). ``field_rate`` times the learning rate is that of field
    and start, which are new. ``clip`` bounds the norm of the gradient (0: not bounded).
    """

    steps: int = Field(default=4, ge=0)
    width: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)
    hidden: int = Field(default=256, ge=1)
    learning: Literal["through", "regression"] = "through"
    reach: float = Field(default=4.0, gt=0)
    start_weight: float = Field(default=0.0, ge=0)
    field_rate: float = Field(default=1.0, gt=0)
    clip: float = Field(default=1.0, ge=0)
    weight_decay: float = Field(default=0.01, ge=0)
    problems: int | None = Field(default=None, ge=1)
