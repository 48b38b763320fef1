"""Gaming alarm: says when completions begin to look like reasoning for whoever pays for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Literal, Protocol

from apportion.detect import DETECTORS

# So many updates make the start and the present: one update's chains are too few to judge by.
WINDOW = 5
_WORDS = {
    "gaming/performative": "checks for show",
    "gaming/padding": "steps that pad",
    "gaming/merging": "merged steps",
    "gaming/caught_mistakes": "mistakes that are caught",
    "train/length": "tokens a completion",
    "gaming/steps_per_needed": "steps over those needed",
    "gaming/separators_per_equation": "separators an equation",
}
RATES = tuple(f"gaming/{name}" for name in DETECTORS)
SIZES = tuple(name for name in _WORDS if name not in RATES)


class GamingOptions(Protocol):
    """What the alarm needs of ``config.AlarmConfig``."""

    @property
    def gaming(self) -> Literal["warn", "stop", "off"]: ...
    @property
    def gaming_rise(self) -> float: ...
    @property
    def gaming_growth(self) -> float: ...


class GamingAlarm:
    """Fed with the training metrics of each update; ``check`` returns new warnings.

    Rings once for each detector whose rate, a share of steps, is more than ``gaming_rise`` above
    its start, and once for each size (length, steps over those needed, separators an equation)
    that is more than ``gaming_growth`` times its start. Start and present are means over
    ``WINDOW`` updates.
    """

    def __init__(self, options: GamingOptions) -> None:
        self._options = options
        self._values: dict[str, list[float]] = defaultdict(list)
        self._rung: set[str] = set()

    def check(self, update: int, metrics: Mapping[str, Any]) -> list[str]:
        if self._options.gaming == "off":
            return []
        warnings = []
        for name in (*RATES, *SIZES):
            value = metrics.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                self._values[name].append(float(value))
                warning = self._look(name)
                if warning:
                    self._rung.add(name)
                    warnings.append(f"gaming at update {update}: {warning}")
        return warnings

    def _look(self, name: str) -> str:
        values = self._values[name]
        if name in self._rung or len(values) < 2 * WINDOW:
            return ""
        start, now = sum(values[:WINDOW]) / WINDOW, sum(values[-WINDOW:]) / WINDOW
        if name in RATES:
            if now > start + self._options.gaming_rise:
                return f"{_WORDS[name]} are {now:.1%} of the steps after {start:.1%}"
        elif start > 0 and now > self._options.gaming_growth * start:
            return f"{now:.3g} {_WORDS[name]} after {start:.3g}"
        return ""
