"""By what agreement is looked at: domains and difficulties of problems."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from apportion.consensus.boundary import KeyOf, Level
from apportion.errors import UserError, nearest
from apportion.trace import Rollout

# The task that made a problem stands at the beginning of its id.
_TASK = re.compile(r"(?P<task>.+?)-(?:train|validation|test)-")
TASK = "task"
MOST_LEVELS = 8
MOST_NAMES = 40
# What tasks call the difficulty of a problem, the first that varies is taken.
DIFFICULTIES = ("operations", "difficulty", "level", "hops")


def key_by(name: str, rollouts: Sequence[Rollout]) -> KeyOf:
    """The level of a rollout by a key of its problem's meta (or its own): a number as it is, a
    list by its length, other values as text; numbers of more than 8 values in ranges of about
    equally many rollouts. ``task`` is the task that made the problem, where its id says so.

    Raises UserError where no rollout has the key, or it has too many names.
    """
    found = {rollout.id: _raw(name, rollout) for rollout in rollouts}
    known = [level for level in found.values() if level is not None]
    if not known:
        keys = sorted({TASK} | {key for r in rollouts for key in _meta(r)})
        raise UserError(
            f"no trace has '{name}' in its problem's meta{nearest(name, keys)}; there are "
            f"{', '.join(keys)}"
        )
    if any(isinstance(level, str) for level in known):
        named = {r: None if level is None else str(level) for r, level in found.items()}
        if len(set(named.values())) > MOST_NAMES:
            raise UserError(
                f"'{name}' has {len(set(known)):,} different values, too many to compare: name a "
                "key with fewer"
            )
        return lambda rollout: named[rollout.id]
    numbers = {r: float(level) for r, level in found.items() if level is not None}
    if len(set(numbers.values())) > MOST_LEVELS:
        numbers = _in_ranges(numbers)
    return lambda rollout: numbers.get(rollout.id)


def usual_keys(rollouts: Sequence[Rollout]) -> list[str]:
    """``task`` and the first known difficulty, as far as they vary."""
    chosen = []
    for names in ((TASK,), DIFFICULTIES):
        for name in names:
            if len({_raw(name, rollout) for rollout in rollouts} - {None}) > 1:
                chosen.append(name)
                break
    return chosen


def _meta(rollout: Rollout) -> Mapping[str, Any]:
    return rollout.meta | rollout.problem.meta


def _raw(name: str, rollout: Rollout) -> Level | None:
    value = _meta(rollout).get(name)
    if value is None and name == TASK:
        match = _TASK.match(rollout.problem.id)
        return match["task"] if match else None
    if isinstance(value, list | tuple | dict):
        return float(len(value))
    if isinstance(value, bool) or value is None:
        return None if value is None else str(value).lower()
    return float(value) if isinstance(value, int | float) else str(value)


def _in_ranges(numbers: Mapping[str, float]) -> dict[str, float]:
    """Each number replaced by the median of its range; four ranges of about equal size."""
    values = np.array(list(numbers.values()))
    edges = np.unique(np.quantile(values, [0.25, 0.5, 0.75]))
    of = np.searchsorted(edges, values, side="left")
    middle = {k: float(np.median(values[of == k])) for k in set(of.tolist())}
    return {r: middle[k] for r, k in zip(numbers, of.tolist(), strict=True)}
