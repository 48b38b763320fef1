"""The loop of the objectives that do not train with TRL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from apportion.train.checkpoints import drop_old
from apportion.train.setup import Arm


def run_updates(
    arm: Arm,
    *,
    done: int,
    step: Callable[[int], None],
    after: Callable[[int], bool],
    save: Callable[[Path], None],
) -> None:
    """Do the updates that are not ``done`` yet.

    ``step`` learns and records one update, counted from 1, ``after`` evaluates where that is due
    and says whether to stop, and ``save`` writes a checkpoint every ``train.checkpoint_every``.
    """
    train, checkpoints = arm.config.train, arm.directory.path / "checkpoints"
    arm.progress.advance(done)
    for update in range(done + 1, train.updates + 1):
        step(update)
        arm.progress.advance()
        if after(update):
            return
        if train.checkpoint_every and update % train.checkpoint_every == 0:
            arm.directory.sync()
            save(checkpoints / f"checkpoint-{update}")
            drop_old(checkpoints)
