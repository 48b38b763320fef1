"""One arm with one seed, trained offline on edited chains."""

from __future__ import annotations

import math
import time
from typing import Any

from apportion.config import RunConfig
from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.records import RunDirectory
from apportion.tasks import Task, load_task
from apportion.train.arm import finish_arm, prepare, resume_point, trainable_policy
from apportion.train.callbacks import Watcher
from apportion.train.chain_rows import as_columns
from apportion.train.edit_source import EditSource, read_edits, supervised_rows
from apportion.train.progress import RunProgress


def run_edits_arm(
    config: RunConfig, seed: int, directory: RunDirectory, *, progress: RunProgress
) -> None:
    """Supervised (objective sft_on_edits) or preference (dpo_on_edits) training on
    ``edits.source``, evaluated and recorded like any other arm; goes on from the newest checkpoint.

    Raises UserError where the configuration, the edits, the task or the policy cannot be used.
    """
    prepare(config, seed)
    task = load_task(config.task)
    source = read_edits(str(config.edits.source))
    _check_held_out(config, task, source)
    policy = trainable_policy(config)
    checkpoint = resume_point(directory)
    build = _preference if config.objective == "dpo_on_edits" else _supervised
    trainer, chains = build(config, seed, policy, source, directory)
    watcher = _EditsWatcher(config, seed, task, policy, directory, progress)
    watcher.expect(chains, len(source.rollouts))
    trainer.add_callback(watcher)
    started = time.monotonic()
    if checkpoint is None:
        progress.say(f"{chains} chains of {len(source.rollouts)} rollouts")
        watcher.evaluate(0)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finish_arm(
        config,
        seed,
        task,
        policy,
        directory,
        rollouts=watcher.rollouts_until(config.train.updates * config.train.epochs),
        alarm=watcher.alarm_text,
        seconds=time.monotonic() - started,
        cache=None,
        progress=progress,
    )


def _check_held_out(config: RunConfig, task: Task, source: EditSource) -> None:
    """Raises UserError where problems of the edits are among those that measure the policy."""
    evaluation = config.eval
    held_out = [
        *task.problems(evaluation.split, evaluation.problems, evaluation.seed),
        *task.problems(evaluation.final_split, evaluation.final_problems, evaluation.seed),
    ]
    known = {r.problem.prompt for r in source.rollouts} & {p.prompt for p in held_out}
    if known:
        raise UserError(
            f"edits.source {config.edits.source}: {len(known)} of its problems are evaluated on, "
            "and what is learned from must not be: sample with --split train"
        )


class _EditsWatcher(Watcher):
    """Counts rollouts by the chains seen: the rollouts behind a chain count when it is first
    learned from, and a second time over the same chains samples nothing."""

    def expect(self, chains: int, rollouts: int) -> None:
        self._to_learn, self._sampled = chains, rollouts

    def rollouts_until(self, update: int) -> int:
        seen = min(1.0, update * self._config.edits.batch_size / self._to_learn)
        return math.ceil(self._sampled * seen)

    def _rollouts_until(self, update: int) -> int:
        return self.rollouts_until(update)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        refuse_not_finite(state.global_step, logs)
        super().on_log(args, state, control, logs)


def refuse_not_finite(update: int, logs: dict[str, Any] | None) -> None:
    """Raises UserError where the logged loss is not a finite number."""
    if logs and not math.isfinite(logs.get("loss", 0.0)):
        raise UserError(
            f"the loss is {logs['loss']} at update {update}: lower train.learning_rate and resume "
            "from the last checkpoint"
        )


def _supervised(
    config: RunConfig,
    seed: int,
    policy: LanguageModelPolicy,
    source: EditSource,
    directory: RunDirectory,
) -> tuple[Any, int]:
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl.trainer.sft_config import SFTConfig

    from apportion.train.sft import WeightedSFTTrainer

    rows = supervised_rows(source, policy, config.edits)
    trainer = WeightedSFTTrainer(
        model=policy.model,
        processing_class=policy.tokenizer,
        args=SFTConfig(**supervised_arguments(config, seed, directory, config.edits.batch_size)),
        train_dataset=Dataset.from_list(as_columns(rows)),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer, len(rows)


def _preference(
    config: RunConfig,
    seed: int,
    policy: LanguageModelPolicy,
    source: EditSource,
    directory: RunDirectory,
) -> tuple[Any, int]:
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl.trainer.dpo_config import DPOConfig

    from apportion.train.preference import dpo_trainer, preference_rows

    rows = preference_rows(policy, source.pairs)
    trainer = dpo_trainer(
        policy,
        args=DPOConfig(
            beta=config.edits.beta,
            **supervised_arguments(config, seed, directory, config.edits.batch_size),
        ),
        train_dataset=Dataset.from_list(rows),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer, len(rows)


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
