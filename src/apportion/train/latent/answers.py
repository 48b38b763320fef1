"""Learning answers: what the objectives share that think in vectors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol

from apportion.train.callbacks import Watcher
from apportion.train.draws import batches
from apportion.train.latent.methods.example import Example
from apportion.train.loop import run_updates
from apportion.train.setup import Arm


class Learner(Protocol):
    """Learns answers. ``done`` counts the updates, the loaded ones too."""

    done: int

    def update(self, examples: Sequence[Example]) -> dict[str, float]: ...

    def save(self, folder: Path) -> None: ...

    def load(self, folder: Path) -> None: ...


class AnswersWatcher(Watcher):
    """Records what a learner of answers says of its updates."""

    def record(self, update: int, metrics: dict[str, float]) -> None:
        self._append(update, "train", metrics)


def learn_answers(
    arm: Arm,
    examples: Sequence[Example],
    learner: Learner,
    watcher: AnswersWatcher,
    checkpoint: Path | None,
) -> float:
    """Learn the examples in order, then again and again in another; goes on from ``checkpoint`` if
    there is one. Returns how many seconds it took."""
    if checkpoint is not None:
        learner.load(checkpoint)
    started = time.monotonic()
    if checkpoint is None:
        watcher.evaluate(0)
    endless = batches(examples, arm.config.train.prompts_per_update, arm.seed)
    stream = islice(endless, learner.done, None)
    run_updates(
        arm,
        done=learner.done,
        step=lambda update: watcher.record(update, learner.update(next(stream))),
        after=watcher.after,
        save=learner.save,
    )
    return time.monotonic() - started
