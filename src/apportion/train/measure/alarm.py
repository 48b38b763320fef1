"""Collapse alarm: stop a run that is getting worse, and keep its last good checkpoint.

Process reward can teach a model to skip steps and end early; accuracy, length and the number of
steps show it (seen with process reward alone in PURE, arXiv 2504.15275).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


class AlarmOptions(Protocol):
    """What the alarm needs of ``config.AlarmConfig``."""

    enabled: bool
    accuracy_drop: float
    length_ratio: float
    steps_ratio: float
    patience: int


@dataclass
class CollapseAlarm:
    """Fed with each evaluation; ``check`` returns why to stop, or None.

    Rings when, ``patience`` evaluations in a row, accuracy is more than ``accuracy_drop`` below
    its best, or the completions' length or number of steps is below ``length_ratio`` or
    ``steps_ratio`` of the first evaluation's.
    """

    options: AlarmOptions
    best_accuracy: float = -1.0
    best_update: int = 0
    _first: dict[str, float] = field(default_factory=dict)
    _bad_in_a_row: int = 0

    def check(self, update: int, accuracy: float | None, length: float, steps: float) -> str | None:
        """``accuracy`` is None where nothing can be graded."""
        if not self._first:
            self._first = {"length": length, "steps": steps}
        if accuracy is not None and accuracy > self.best_accuracy:
            self.best_accuracy, self.best_update = accuracy, update
        reason = self._reason(accuracy, length, steps)
        self._bad_in_a_row = self._bad_in_a_row + 1 if reason else 0
        if not self.options.enabled or self._bad_in_a_row < self.options.patience:
            return None
        best = (
            f"best was update {self.best_update}, whose model is in checkpoints/best"
            if self.best_update
            else "no later update was better than the start"
        )
        return f"collapse at update {update}: {reason}; {best}"

    def _reason(self, accuracy: float | None, length: float, steps: float) -> str | None:
        if accuracy is not None and accuracy < self.best_accuracy - self.options.accuracy_drop:
            return f"accuracy {accuracy:.3f} after {self.best_accuracy:.3f}"
        if length < self.options.length_ratio * self._first["length"]:
            return f"{length:.1f} tokens a completion after {self._first['length']:.1f}"
        if steps < self.options.steps_ratio * self._first["steps"]:
            return f"{steps:.1f} steps a completion after {self._first['steps']:.1f}"
        return None
