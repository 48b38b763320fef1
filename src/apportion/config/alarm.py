"""When to stop."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from apportion.config.section import Section


class AlarmConfig(Section):
    """When to stop a collapsing run; see ``apportion.train.measure.alarm.CollapseAlarm``.

    ``gaming`` says what to do when completions begin to look like reasoning for its own sake: a
    detector's rate is ``gaming_rise`` above its start, or length ``gaming_growth`` times it; see
    ``apportion.train.measure.gaming_alarm.GamingAlarm``.
    """

    enabled: bool = True
    accuracy_drop: float = Field(default=0.15, ge=0, le=1)
    length_ratio: float = Field(default=0.5, ge=0, le=1)
    steps_ratio: float = Field(default=0.5, ge=0, le=1)
    patience: int = Field(default=2, ge=1)
    gaming: Literal["warn", "stop", "off"] = "warn"
    gaming_rise: float = Field(default=0.1, ge=0, le=1)
    gaming_growth: float = Field(default=2.0, ge=1)
