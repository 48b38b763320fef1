"""One arm with one seed, trained by evolution strategies: no gradient is computed."""

from __future__ import annotations

import math
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from apportion.config import RunConfig
from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.records import RunDirectory
from apportion.tasks import Task, load_task
from apportion.trace import Problem
from apportion.train.arm import finish_arm, prepare, resume_point, trainable_policy
from apportion.train.callbacks import Watcher
from apportion.train.cost_meter import CostMeter
from apportion.train.evolution_update import EvolutionLearner
from apportion.train.fitness import load_reward
from apportion.train.progress import RunProgress

_KEPT_CHECKPOINTS = 2


def run_evolution_arm(
    config: RunConfig, seed: int, directory: RunDirectory, *, progress: RunProgress
) -> None:
    """Train on outcomes or on the likelihood of references, evaluate and record; goes on from the
    newest checkpoint if there is one.

    Raises UserError where the configuration, the task or the policy cannot be used, and where a
    reward is not finite.
    """
    prepare(config, seed)
    task = load_task(config.task)
    policy = _policy(config)
    checkpoint = resume_point(directory)
    learner = EvolutionLearner(policy, load_reward(config, policy, task, seed), config, seed)
    if checkpoint is not None:
        learner.load(checkpoint)
    problems = _problems(config, seed, task, policy)
    watcher = _EvolutionWatcher(config, seed, task, policy, directory, progress)
    started = time.monotonic()
    if checkpoint is None:
        watcher.evaluate(0)
    _learn(config, problems, learner, watcher, directory, progress)
    if config.evolution.lora is not None:
        policy.model = policy.model.merge_and_unload()
    finish_arm(
        config,
        seed,
        task,
        policy,
        directory,
        rollouts=watcher.evaluated_until(config.train.updates),
        alarm=watcher.alarm_text,
        seconds=time.monotonic() - started,
        cache=None,
        progress=progress,
    )


def _policy(config: RunConfig) -> LanguageModelPolicy:
    policy = trainable_policy(config)
    if config.evolution.lora is not None:
        policy.model = with_adapter(policy.model, config.evolution.lora)
    policy.model.to("cuda" if torch.cuda.is_available() else "cpu")
    policy.model.eval()
    return policy


def with_adapter(model: Any, options: dict[str, Any]) -> Any:
    """The model with a new LoRA adapter, which alone requires a gradient.

    Raises UserError for options that peft refuses.
    """
    from peft import LoraConfig, get_peft_model

    try:
        return get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **options))
    except (TypeError, ValueError) as error:
        raise UserError(f"evolution.lora: {str(error).splitlines()[0]}") from None


def _problems(
    config: RunConfig, seed: int, task: Task, policy: LanguageModelPolicy
) -> list[Problem]:
    problems = task.problems("train", config.train.updates * config.train.prompts_per_update, seed)
    if not problems:
        raise UserError("task: no training problems (check its path, split and size)")
    if config.evolution.reward == "outcome":
        policy.check_context(problems, config.train.max_completion_tokens)
    return problems


def _learn(
    config: RunConfig,
    problems: list[Problem],
    learner: EvolutionLearner,
    watcher: _EvolutionWatcher,
    directory: RunDirectory,
    progress: RunProgress,
) -> None:
    train = config.train
    progress.advance(learner.done)
    while learner.done < train.updates:
        first = learner.done * train.prompts_per_update
        batch = [
            problems[i % len(problems)] for i in range(first, first + train.prompts_per_update)
        ]
        watcher.record(learner.done + 1, learner.update(batch))
        if train.record_every and learner.done % train.record_every == 0:
            directory.append("rollouts", *learner.rollouts)
        progress.advance()
        watcher.probe(learner.done)
        due = config.eval.every and learner.done % config.eval.every == 0
        if due and watcher.evaluate(learner.done):
            return
        if train.checkpoint_every and learner.done % train.checkpoint_every == 0:
            directory.sync()
            _save_checkpoint(learner, directory.path / "checkpoints")


def _save_checkpoint(learner: EvolutionLearner, folder: Path) -> None:
    learner.save(folder / f"checkpoint-{learner.done}")
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for old in found[:-_KEPT_CHECKPOINTS]:
        shutil.rmtree(old)


class _EvolutionWatcher(Watcher):
    """Counts evaluated completions, one for each perturbation, problem and sample, where others
    count sampled rollouts."""

    def evaluated_until(self, update: int) -> int:
        evolution = self._config.evolution
        each = self._config.train.prompts_per_update * max(1, evolution.samples)
        return update * evolution.population * each

    def _rollouts_until(self, update: int) -> int:
        return self.evaluated_until(update)

    def _make_meter(self) -> CostMeter:
        settings = self._config.evolution
        batches = math.ceil(settings.population / settings.parallel)
        return CostMeter(
            self._policy.model, copies=settings.population / batches, counts_tokens=False
        )

    def record(self, update: int, metrics: dict[str, float]) -> None:
        if self._config.evolution.reward == "outcome":
            completions = self.evaluated_until(update) - self.evaluated_until(update - 1)
            self._meter.tokens += round(metrics["train/length"] * completions)
        self._append(update, "train", metrics)
