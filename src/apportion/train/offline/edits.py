"""One arm with one seed, trained offline on edited chains."""

from __future__ import annotations

import math
from typing import Any

from apportion.config import RunConfig
from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.records import RunDirectory
from apportion.tasks import Task, load_task
from apportion.train.offline.chain_rows import as_columns
from apportion.train.offline.edit_source import EditSource, read_edits, supervised_rows
from apportion.train.offline.trainers import OfflineWatcher, supervised_arguments, train_offline
from apportion.train.progress import RunProgress
from apportion.train.setup import Arm, prepare, resume_point, trainable_policy


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
    arm = Arm(config, seed, task, policy, directory, progress)
    watcher = _EditsWatcher(arm)
    watcher.expect(chains, len(source.rollouts))
    trainer.add_callback(watcher)
    if checkpoint is None:
        progress.say(f"{chains} chains of {len(source.rollouts)} rollouts")
    train_offline(arm, trainer, watcher, checkpoint)


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


class _EditsWatcher(OfflineWatcher):
    """Counts rollouts by the chains seen: the rollouts behind a chain count when it is first
    learned from, and a second time over the same chains samples nothing."""

    def expect(self, chains: int, rollouts: int) -> None:
        self._to_learn, self._sampled = chains, rollouts

    def rollouts_until(self, update: int) -> int:
        seen = min(1.0, update * self._config.edits.batch_size / self._to_learn)
        return math.ceil(self._sampled * seen)


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

    from apportion.train.offline.sft import WeightedSFTTrainer

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

    from apportion.train.offline.preference import dpo_trainer, preference_rows

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
