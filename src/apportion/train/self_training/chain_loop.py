"""One arm with one seed, trained on chains that reach the right answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from apportion.config import RunConfig
from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.records import RunDirectory
from apportion.tasks import Task, load_task
from apportion.trace import Problem, Rollout
from apportion.train.callbacks import Watcher
from apportion.train.finish import finish_arm
from apportion.train.loop import run_updates
from apportion.train.progress import RunProgress
from apportion.train.self_training.chain_learner import ChainLearner, WeightedChain
from apportion.train.self_training.chain_memory import ChainMemory
from apportion.train.setup import Arm, prepare, resume_point, trainable_policy


class Draw(NamedTuple):
    """What an update learns from: weighted chains of ``examples`` problems, the completions that
    the policy was just asked for, and metrics of docs/metrics.md."""

    chains: Sequence[WeightedChain]
    examples: int
    rollouts: Sequence[Rollout]
    metrics: dict[str, float]


class Source(Protocol):
    """Where an objective takes its chains from.

    ``begin`` is called once before the first ``draw``, also of a resumed run. ``drawn`` is how
    many completions were sampled until an update. ``state`` goes into the checkpoint.
    """

    def begin(self) -> None: ...

    def draw(self, update: int) -> Draw: ...

    def drawn(self, update: int) -> int: ...

    def state(self) -> dict[str, Any]: ...

    def load_state(self, state: dict[str, Any]) -> None: ...


def run_chains_arm(
    config: RunConfig, seed: int, directory: RunDirectory, *, progress: RunProgress
) -> None:
    """Objectives trice, star, rejection and em: train, evaluate and record; goes on from the newest
    checkpoint if there is one.

    Raises UserError where the configuration, the task or the policy cannot be used, and where no
    chain is ever right.
    """
    prepare(config, seed)
    task = load_task(config.task)
    policy = trainable_policy(config)
    checkpoint = resume_point(directory)
    problems = _problems(config, seed, task, policy)
    learner = ChainLearner(policy, config)
    start = learner.weights()
    kept = learner.load(checkpoint) if checkpoint is not None else None
    for complaint in directory.complaints:
        progress.say(complaint)
    arm = Arm(config, seed, task, policy, directory, progress)
    source = _source(arm, learner, problems, start)
    if kept is not None:
        source.load_state(kept)
    watcher = _ChainsWatcher(arm)
    watcher.source = source
    started = time.monotonic()
    if checkpoint is None:
        watcher.evaluate(0)
    source.begin()
    _learn(arm, learner, source, watcher)
    finish_arm(
        arm,
        watcher,
        seconds=time.monotonic() - started,
    )


def _problems(
    config: RunConfig, seed: int, task: Task, policy: LanguageModelPolicy
) -> list[Problem]:
    problems = task.problems("train", config.trice.problems, seed)
    if len({problem.id for problem in problems}) < config.train.prompts_per_update:
        raise UserError(
            f"task: {len(problems)} training problems, and an update takes "
            f"{config.train.prompts_per_update}: check its path, split and size"
        )
    policy.check_context(problems, config.train.max_completion_tokens)
    return problems


def _source(
    arm: Arm, learner: ChainLearner, problems: Sequence[Problem], start: dict[str, Any]
) -> Source:
    memory = ChainMemory(arm.directory)
    if arm.config.objective == "trice":
        from apportion.train.self_training.trice import Trice

        return Trice(arm, learner, memory, problems)
    if arm.config.objective == "em":
        from apportion.train.self_training.posterior import Posterior

        return Posterior(arm.config, arm.seed, arm.task, arm.policy, learner, problems)
    from apportion.train.self_training.star import Rounds

    return Rounds(arm, learner, memory, problems, start)


def _learn(arm: Arm, learner: ChainLearner, source: Source, watcher: _ChainsWatcher) -> None:
    every = arm.config.train.record_every

    def step(update: int) -> None:
        started = time.monotonic()
        draw = source.draw(update)
        measure = bool(every) and update % every == 0
        metrics = learner.update(draw.chains, draw.examples, measure=measure)
        seconds = {"train/seconds": time.monotonic() - started}
        watcher.record(update, draw, metrics | seconds, keep=measure)

    run_updates(
        arm,
        done=learner.done,
        step=step,
        after=watcher.after,
        save=lambda folder: learner.save(folder, source.state()),
    )


class _ChainsWatcher(Watcher):
    """Counts the completions that the source drew."""

    source: Source

    def rollouts_until(self, update: int) -> int:
        return self.source.drawn(update)

    def record(self, update: int, draw: Draw, metrics: dict[str, float], *, keep: bool) -> None:
        self._append(update, "train", draw.metrics | metrics)
        if keep and draw.rollouts:
            at = {"update": update}
            self._directory.append("rollouts", *(r.model_copy(update=at) for r in draw.rollouts))
