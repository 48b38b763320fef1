"""Chain alarm: says when a likelihood reward teaches the policy to stop reasoning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

# So many updates make the start and the present: one update's chains are too few to judge by.
WINDOW = 5
_LENGTH, _EMPTY = "likelihood/chain_tokens", "likelihood/empty_chains"


class ChainOptions(Protocol):
    """What the alarm needs of ``config.reward.RewardConfig``."""

    @property
    def collapse(self) -> Literal["warn", "stop", "off"]: ...
    @property
    def collapse_ratio(self) -> float: ...


class ChainAlarm:
    """Fed with the training metrics of each update; ``check`` returns a warning, once, or None.

    Rings when the reasoning has shrunk below ``collapse_ratio`` of its tokens at the start, or
    most chains are empty. Start and present are means over ``WINDOW`` updates. Log-probability
    rewards are known to shorten chains first (arXiv 2602.03979).
    """

    def __init__(self, options: ChainOptions) -> None:
        self._options = options
        self._lengths: list[float] = []
        self._empty: list[float] = []
        self._rung = options.collapse == "off"

    def check(self, update: int, metrics: Mapping[str, Any]) -> str | None:
        if _LENGTH not in metrics:
            return None
        self._lengths.append(float(metrics[_LENGTH]))
        self._empty.append(float(metrics[_EMPTY]))
        if self._rung or len(self._lengths) < 2 * WINDOW:
            return None
        start, now = sum(self._lengths[:WINDOW]) / WINDOW, sum(self._lengths[-WINDOW:]) / WINDOW
        empty = sum(self._empty[-WINDOW:]) / WINDOW
        if now >= self._options.collapse_ratio * start and empty <= 0.5:
            return None
        self._rung = True
        return (
            f"chains collapse at update {update}: {now:.1f} tokens of reasoning after {start:.1f}, "
            f"{empty:.0%} of the chains empty"
        )
