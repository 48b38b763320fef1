"""What objective ``sft`` can be told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from apportion.config.section import Section


class SftConfig(Section):
    """Objective sft: supervised training on the task's gold solutions, ``train.prompts_per_update``
    problems an update.

    ``chains`` "gold" learns the whole solution, "none" only what follows its reasoning: the answer
    at once, without thought. ``problems`` are gone through again and again; None takes new ones
    for every update.
    """

    chains: Literal["gold", "none"] = "gold"
    problems: int | None = Field(default=None, ge=1)
