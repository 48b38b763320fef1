"""TRL's completion logs: Parquet tables that a GRPO trainer writes with ``log_completions``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apportion.credit.base import group_advantage
from apportion.errors import UserError
from apportion.trace import Rollout

REWARD = "outcome"


def export_trl(rollouts: Sequence[Rollout], out: Path) -> list[Path]:
    """Write ``completions/completions_UPDATE.parquet`` for each update; the files written.

    Columns as in TRL: ``step``, ``prompt``, ``completion``, the reward (``outcome``, null where
    undecided), ``advantage`` (the outcome's among the completions of one prompt and update), and
    between them ``answer``, ``id``, ``policy`` and ``reasoning_end``. Rollouts without an update
    count as update 0. Raises UserError without pyarrow.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UserError("--format trl needs pip install 'apportion[parquet]'") from error
    by_update: dict[int, list[Rollout]] = defaultdict(list)
    for rollout in rollouts:
        by_update[rollout.update or 0].append(rollout)
    folder = out / "completions"
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for update, own in sorted(by_update.items()):
        path = folder / f"completions_{update:05d}.parquet"
        parquet.write_table(pyarrow.table(_columns(update, own)), path)
        written.append(path)
    return written


def _columns(update: int, rollouts: Sequence[Rollout]) -> dict[str, list[Any]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for index, rollout in enumerate(rollouts):
        groups[rollout.group or rollout.problem.id].append(index)
    advantages = [0.0] * len(rollouts)
    for members in groups.values():
        outcomes = [_number(rollouts[i].outcome) for i in members]
        for i, advantage in zip(members, group_advantage(np.array(outcomes)), strict=True):
            advantages[i] = float(advantage)
    return {
        "step": [update] * len(rollouts),
        "prompt": [r.problem.prompt for r in rollouts],
        "completion": [r.text for r in rollouts],
        REWARD: [r.outcome for r in rollouts],
        "answer": [r.problem.answers[0] if r.problem.answers else None for r in rollouts],
        "id": [r.id for r in rollouts],
        "policy": [r.policy for r in rollouts],
        "reasoning_end": [r.reasoning_end for r in rollouts],
        "advantage": advantages,
    }


def _number(outcome: float | None) -> float:
    return float("nan") if outcome is None else outcome
