"""Checkpoints of a run: one that was not written whole does not count, and the newest are kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

KEPT = 2
_MARK = "trainer_state.json"  # the file that transformers' Trainer writes last


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint in a folder: killed writers leave incomplete ones behind."""
    complete = [path for path in folder.glob("checkpoint-*") if (path / _MARK).is_file()]
    return max(complete, key=update_of, default=None)


def update_of(checkpoint: Path) -> int:
    return int(checkpoint.name.split("-")[1])


def drop_old(folder: Path) -> None:
    """Keep the ``KEPT`` newest checkpoints of a folder."""
    for old in sorted(folder.glob("checkpoint-*"), key=update_of)[:-KEPT]:
        shutil.rmtree(old)


def save_state(file: Path, state: dict[str, Any], done: int) -> None:
    """Write ``state`` with the number of updates done, and then what marks the checkpoint as whole:
    all else of it has to be there before."""
    torch.save({**state, "done": done}, file)
    (file.parent / _MARK).write_text(f'{{"global_step": {done}}}\n')


def save_optimisation(file: Path, done: int, **parts: Any) -> None:
    """``save_state`` of the states of ``parts``, an optimiser say, and of the random numbers."""
    state = {name: part.state_dict() for name, part in parts.items()}
    save_state(file, state | {"random": torch.get_rng_state()}, done)


def load_optimisation(file: Path, **parts: Any) -> int:
    """Take up what ``save_optimisation`` wrote; returns how many updates were done."""
    state = torch.load(file, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    torch.set_rng_state(state["random"])
    return state["done"]
