"""One arm with one seed, trained by evolution strategies: no gradient is computed."""

from __future__ import annotations

import math
import time
from typing import Any

import torch

from apportion.config import RunConfig
from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.records import RunDirectory
from apportion.tasks import Task, load_task
from apportion.trace import Problem
from apportion.train.callbacks import Watcher
from apportion.train.draws import in_turn, training_problems
from apportion.train.evolution.evolution_update import EvolutionLearner
from apportion.train.evolution.fitness import load_reward
from apportion.train.finish import finish_arm
from apportion.train.loop import run_updates
from apportion.train.measure.cost_meter import CostMeter
from apportion.train.progress import RunProgress
from apportion.train.setup import Arm, prepare, resume_point, trainable_policy


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
    arm = Arm(config, seed, task, policy, directory, progress)
    watcher = _EvolutionWatcher(arm)
    started = time.monotonic()
    if checkpoint is None:
        watcher.evaluate(0)
    _learn(arm, problems, learner, watcher)
    if config.evolution.lora is not None:
        policy.model = policy.model.merge_and_unload()
    finish_arm(
        arm,
        watcher,
        seconds=time.monotonic() - started,
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
    wanted = config.train.updates * config.train.prompts_per_update
    problems = training_problems(task, wanted, seed)
    if config.evolution.reward == "outcome":
        policy.check_context(problems, config.train.max_completion_tokens)
    return problems


def _learn(
    arm: Arm, problems: list[Problem], learner: EvolutionLearner, watcher: _EvolutionWatcher
) -> None:
    train = arm.config.train

    def step(update: int) -> None:
        batch = in_turn(problems, train.prompts_per_update, update)
        watcher.record(update, learner.update(batch))
        if train.record_every and update % train.record_every == 0:
            arm.directory.append("rollouts", *learner.rollouts)

    run_updates(arm, done=learner.done, step=step, after=watcher.after, save=learner.save)


class _EvolutionWatcher(Watcher):
    """Counts evaluated completions, one for each perturbation, problem and sample, where others
    count sampled rollouts."""

    def rollouts_until(self, update: int) -> int:
        evolution = self._config.evolution
        each = self._config.train.prompts_per_update * max(1, evolution.samples)
        return update * evolution.population * each

    def _make_meter(self) -> CostMeter:
        settings = self._config.evolution
        batches = math.ceil(settings.population / settings.parallel)
        return CostMeter(
            self._policy.model, copies=settings.population / batches, counts_tokens=False
        )

    def record(self, update: int, metrics: dict[str, float]) -> None:
        if self._config.evolution.reward == "outcome":
            completions = self.rollouts_until(update) - self.rollouts_until(update - 1)
            self._meter.tokens += round(metrics["train/length"] * completions)
        self._append(update, "train", metrics)
