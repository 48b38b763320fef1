"""What the objectives on chains that were written before share: TRL's trainers, from end to end."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from apportion.config import RunConfig
from apportion.errors import UserError
from apportion.records import RunDirectory
from apportion.train.callbacks import Watcher
from apportion.train.finish import finish_arm
from apportion.train.setup import Arm


class OfflineWatcher(Watcher):
    """Raises UserError where the loss is not a finite number."""

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if logs and not math.isfinite(logs.get("loss", 0.0)):
            raise UserError(
                f"the loss is {logs['loss']} at update {state.global_step}: lower "
                "train.learning_rate and resume from the last checkpoint"
            )
        super().on_log(args, state, control, logs)


def train_offline(arm: Arm, trainer: Any, watcher: OfflineWatcher, checkpoint: Path | None) -> None:
    """Evaluate, train, evaluate again; goes on from ``checkpoint`` if there is one."""
    started = time.monotonic()
    if checkpoint is None:
        watcher.evaluate(0)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finish_arm(
        arm,
        watcher,
        seconds=time.monotonic() - started,
    )


def supervised_arguments(
    config: RunConfig, seed: int, directory: RunDirectory, batch_size: int
) -> dict[str, Any]:
    """Arguments that TRL's supervised and preference trainers share, without a length limit: the
    context is checked before."""
    import torch
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    train = config.train
    return {
        "output_dir": str(directory.path / "checkpoints"),
        "max_steps": train.updates * train.epochs,
        "per_device_train_batch_size": batch_size,
        "learning_rate": train.learning_rate,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": train.warmup_updates,
        "max_length": None,
        "save_strategy": "steps" if train.checkpoint_every else "no",
        "save_steps": train.checkpoint_every or 500,
        "save_total_limit": 2,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": not torch.cuda.is_available(),
        "bf16": torch.cuda.is_available(),
        "gradient_checkpointing": False,
        "seed": seed,
    }
