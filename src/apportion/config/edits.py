"""What the objectives on edited chains can be told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from apportion.config.section import Section


class EditsConfig(Section):
    """Objectives sft_on_edits and dpo_on_edits: ``train.updates`` updates of ``batch_size`` chains
    each on what ``apportion edit`` wrote into the directory ``source``.

    ``chains`` "edited" learns from the usable edits, "edited_or_right" also from rollouts that
    were right as sampled and have no usable edit, "right" from all right rollouts as sampled
    (rejection sampling). ``kept`` is the weight of text that an edit left alone: at 0 the loss is
    on the edit only. ``weight`` of a chain: "verified" is the share of right re-answers,
    "advantage" the share of its problem's rollouts that were wrong. DPO prefers an edit to its
    original with strength ``beta`` and takes usable edits alone.
    """

    source: str | None = None
    chains: Literal["edited", "edited_or_right", "right"] = "edited"
    kept: float = Field(default=1.0, ge=0, le=1)
    weight: Literal["none", "verified", "advantage"] = "none"
    batch_size: int = Field(default=32, ge=1)
    beta: float = Field(default=0.1, gt=0)
