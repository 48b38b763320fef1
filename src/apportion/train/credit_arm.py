"""One arm with one seed of objective ``credit``: GRPO with a credit for each token."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from apportion.config import RunConfig
from apportion.errors import UserError
from apportion.records import RunDirectory
from apportion.review import load_reviewer
from apportion.review.cache import ReviewCache
from apportion.tasks import load_task
from apportion.train.callbacks import Watcher
from apportion.train.draws import training_problems
from apportion.train.finish import finish_arm
from apportion.train.grpo.reviewer_value import ReviewerValue
from apportion.train.grpo.rewards import reward_functions, reward_weights
from apportion.train.grpo.signals import load_all, load_signals
from apportion.train.progress import RunProgress
from apportion.train.rows import row_of_problem
from apportion.train.setup import Arm, prepare, resume_point, trainable_policy


def run_credit_arm(
    config: RunConfig,
    seed: int,
    directory: RunDirectory,
    *,
    cache: ReviewCache | None = None,
    progress: RunProgress,
) -> None:
    """Train, evaluate and record; continues from the newest checkpoint if there is one.

    Raises UserError where the configuration, the task or the policy cannot be used.
    """
    prepare(config, seed)
    task = load_task(config.task)
    policy = trainable_policy(config)
    checkpoint = resume_point(directory)
    arm = Arm(config, seed, task, policy, directory, progress)
    trainer, watcher, signals = _trainer(arm, cache)
    started = time.monotonic()
    try:
        if checkpoint is None:
            watcher.evaluate(0)
        else:
            load_all(signals, checkpoint)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:
        trainer.close()
    seconds = time.monotonic() - started
    finish_arm(
        arm,
        watcher,
        seconds=seconds,
        cache=cache,
        signals=signals,
    )


def _trainer(arm: Arm, cache: ReviewCache | None) -> tuple[Any, Any, Any]:
    from datasets import Dataset
    from datasets.utils.logging import disable_progress_bar
    from transformers import PrinterCallback

    from apportion.train.grpo.imitators import load_imitator
    from apportion.train.grpo.trl import CreditGRPOTrainer

    disable_progress_bar()
    config, seed, task, policy, directory, progress = arm
    wanted = config.train.updates * config.train.prompts_per_update
    problems = training_problems(task, wanted, seed)
    policy.check_context(problems, config.train.max_completion_tokens)
    rows = [row_of_problem(problem, policy.prompt_for(problem)) for problem in problems]
    watcher = Watcher(arm)
    signals = load_signals(config, task, policy)
    trainer = CreditGRPOTrainer(
        model=policy.model,
        processing_class=policy.tokenizer,
        reward_funcs=reward_functions(config, task, policy, problems),
        args=_arguments(config, seed, directory.path),
        train_dataset=Dataset.from_list(rows),
        credit=config.credit,
        reviewers=[load_reviewer(spec, cache=cache) for spec in config.reviewers],
        voting=config.consensus.model_dump(),
        segmenter=config.segment,
        reasoning_end=task.reasoning_end,
        on_credit=watcher.on_credit,
        review_timeout=config.train.review_timeout,
        credit_seed=seed,
        cross_examine=config.cross_examine,
        imitate=load_imitator(config, policy, task, seed),
        imitation_weight=config.imitation.weight,
        policy_weight=config.imitation.policy_weight if config.imitation.chains != "none" else 1.0,
        policy=policy,
        signals=signals,
        callbacks=[watcher],
    )
    trainer.remove_callback(PrinterCallback)
    if config.metalearning.every and trainer.credit_method.reads_reviews:
        names = [load_reviewer(spec).name for spec in config.reviewers]
        weigh = trainer.set_reviewer_weights
        trainer.add_callback(
            ReviewerValue(
                config, seed, task, policy, directory, progress, names=names, set_weights=weigh
            )
        )
    return trainer, watcher, signals


def _arguments(config: RunConfig, seed: int, folder: Path) -> Any:
    import torch
    from trl.trainer.grpo_config import GRPOConfig

    train = config.train
    rollouts = train.prompts_per_update * train.group_size
    micro = train.micro_batch or rollouts
    if rollouts % micro:
        raise UserError(
            f"train.micro_batch {micro} does not divide the {rollouts} rollouts of an update "
            "(prompts_per_update x group_size)"
        )
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    return GRPOConfig(
        output_dir=str(folder / "checkpoints"),
        max_steps=train.updates * train.epochs,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=rollouts // micro,
        num_generations=train.group_size,
        num_iterations=train.epochs,
        reward_weights=reward_weights(config),
        max_completion_length=train.max_completion_tokens,
        temperature=train.temperature,
        learning_rate=train.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=train.warmup_updates,
        beta=train.beta,
        loss_type=train.loss_type,
        scale_rewards=train.scale_rewards,
        save_strategy="steps" if train.checkpoint_every else "no",
        save_steps=train.checkpoint_every or 500,
        save_total_limit=2,
        shuffle_dataset=False,
        logging_steps=1,
        report_to=[],
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        bf16=torch.cuda.is_available(),
        gradient_checkpointing=False,
        seed=seed,
    )
