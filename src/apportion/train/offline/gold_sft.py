"""One arm with one seed, trained on the gold solutions of its task."""

from __future__ import annotations

from collections.abc import Sequence

from apportion.config import RunConfig
from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.records import RunDirectory
from apportion.tasks import Task, load_task
from apportion.trace import Problem
from apportion.train.offline.chain_rows import ChainRow, as_columns, completion_row
from apportion.train.offline.trainers import OfflineWatcher, supervised_arguments, train_offline
from apportion.train.progress import RunProgress
from apportion.train.setup import Arm, prepare, resume_point, trainable_policy


def run_sft_arm(
    config: RunConfig, seed: int, directory: RunDirectory, *, progress: RunProgress
) -> None:
    """Train, evaluate and record; goes on from the newest checkpoint if there is one.

    Raises UserError where the configuration, the task or the policy cannot be used.
    """
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    prepare(config, seed)
    task, policy = load_task(config.task), trainable_policy(config)
    checkpoint = resume_point(directory)
    train = config.train
    wanted = config.sft.problems or train.updates * train.prompts_per_update
    problems = task.problems("train", wanted, seed)
    policy.check_context(problems, train.max_completion_tokens)
    arm = Arm(config, seed, task, policy, directory, progress)
    watcher = _SftWatcher(arm)
    arguments = supervised_arguments(config, seed, directory, train.prompts_per_update)
    trainer = SFTTrainer(
        model=policy.model,
        processing_class=policy.tokenizer,
        args=SFTConfig(**arguments),
        train_dataset=Dataset.from_list(as_columns(gold_rows(policy, task, problems, config))),
        callbacks=[watcher],
    )
    trainer.remove_callback(PrinterCallback)
    train_offline(arm, trainer, watcher, checkpoint)


def gold_rows(
    policy: LanguageModelPolicy, task: Task, problems: Sequence[Problem], config: RunConfig
) -> list[ChainRow]:
    """Each problem with its gold solution, or with ``sft.chains`` "none" with its answer alone.

    Raises UserError for a problem without the one or the other.
    """
    rows = []
    for problem in problems:
        gold = task.gold_completion(problem) or ""
        text = gold if config.sft.chains == "gold" else gold[task.reasoning_end(gold) :]
        if not text:
            raise UserError(f"task {task.name}: problem {problem.id} has no gold solution to learn")
        rows.append(completion_row(policy, problem, text))
    return rows


class _SftWatcher(OfflineWatcher):
    """Counts problems seen, since nothing is sampled."""

    def rollouts_until(self, update: int) -> int:
        return 0
