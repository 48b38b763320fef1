"""What a run learned of the worth of its reviewers, and what it decided."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from apportion.report.data import Measure, Part, Run, read_measure
from apportion.report.wording import fixed, signed


@dataclass(frozen=True)
class Worth:
    """One reviewer in one part of a run. ``value`` is its posterior gain per block beyond the
    others' (n: its blocks), ``decision`` the last thing decided of it, with the reason."""

    part: str
    reviewer: str
    weight: float | None
    value: Measure | None
    decision: str

    @property
    def dropped(self) -> bool:
        return self.weight == 0

    @property
    def gain(self) -> str:
        """The value in words."""
        if self.value is None or self.value.low is None or self.value.high is None:
            return "–"
        bounds = f"[{signed(self.value.low, 4)}, {signed(self.value.high, 4)}]"
        return f"{signed(self.value.value, 4)} {bounds}"

    @property
    def sentence(self) -> str:
        weight = "" if self.weight is None else f", weight {fixed(self.weight, 2)}"
        return f"{self.part}: {self.reviewer}{weight}: {self.decision or 'nothing decided yet'}"


def worth_of(run: Run) -> list[Worth]:
    """Of every part that learned it, every reviewer (and the control); empty for other runs."""
    return [worth for part in run.parts for worth in _of_part(part)]


def _of_part(part: Part) -> list[Worth]:
    lines = [line for line in part.lines if "reviewer/accuracy" in line.metrics]
    if not lines:
        return []
    last = lines[-1].metrics
    decisions = {}
    for line in lines:
        for decision in _decisions(line.metrics.get("reviewer/decisions")):
            if decision.get("action") != "assigned":
                what = f"{decision.get('action')} before block {decision.get('block')}"
                reason = f"{what} (update {line.update}): {decision.get('reason')}"
                decisions[str(decision.get("reviewer"))] = reason
    names = [key.removeprefix("reviewer/value/") for key in last if "/value/" in key]
    return [
        Worth(
            part.label,
            name,
            weight.value if (weight := read_measure(last.get(f"reviewer/weight/{name}"))) else None,
            read_measure(last.get(f"reviewer/value/{name}")),
            decisions.get(name, ""),
        )
        for name in names
    ]


def _decisions(raw: Any) -> Sequence[dict[str, Any]]:
    """As they were recorded; a damaged list tells nothing."""
    try:
        found = json.loads(raw) if isinstance(raw, str) else []
    except ValueError:
        return []
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
