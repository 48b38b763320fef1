"""One arm with one seed, trained on chains that reach the right answer."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from apportion.config import RunConfig
from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.records import RunDirectory
from apportion.tasks import Task, load_task
from apportion.trace import Problem, Rollout
from apportion.train.arm import finish_arm, prepare, resume_point, trainable_policy
from apportion.train.callbacks import Watcher
from apportion.train.chain_learner import ChainLearner, WeightedChain
from apportion.train.chain_memory import ChainMemory
from apportion.train.progress import RunProgress

_KEPT_CHECKPOINTS = 2


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
    memory = ChainMemory(directory)
    source = _source(config, seed, task, policy, learner, memory, problems, progress, start)
    if kept is not None:
        source.load_state(kept)
    watcher = _ChainsWatcher(config, seed, task, policy, directory, progress)
    watcher.source = source
    started = time.monotonic()
    if checkpoint is None:
        watcher.evaluate(0)
    source.begin()
    _learn(config, learner, source, watcher, directory, progress)
    finish_arm(
        config,
        seed,
        task,
        policy,
        directory,
        rollouts=source.drawn(learner.done),
        alarm=watcher.alarm_text,
        seconds=time.monotonic() - started,
        cache=None,
        progress=progress,
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
    config: RunConfig,
    seed: int,
    task: Task,
    policy: LanguageModelPolicy,
    learner: ChainLearner,
    memory: ChainMemory,
    problems: Sequence[Problem],
    progress: RunProgress,
    start: dict[str, Any],
) -> Source:
    if config.objective == "trice":
        from apportion.train.trice import Trice

        return Trice(config, seed, task, policy, learner, memory, problems, progress)
    if config.objective == "em":
        from apportion.train.posterior import Posterior

        return Posterior(config, seed, task, policy, learner, problems)
    from apportion.train.star import Rounds

    return Rounds(config, seed, task, policy, learner, memory, problems, progress, start)


def _learn(
    config: RunConfig,
    learner: ChainLearner,
    source: Source,
    watcher: _ChainsWatcher,
    directory: RunDirectory,
    progress: RunProgress,
) -> None:
    train = config.train
    progress.advance(learner.done)
    while learner.done < train.updates:
        started = time.monotonic()
        update = learner.done + 1
        draw = source.draw(update)
        measure = bool(train.record_every) and update % train.record_every == 0
        metrics = learner.update(draw.chains, draw.examples, measure=measure)
        seconds = {"train/seconds": time.monotonic() - started}
        watcher.record(update, draw, metrics | seconds, keep=measure)
        progress.advance()
        watcher.probe(update)
        due = config.eval.every and update % config.eval.every == 0
        if due and watcher.evaluate(update):
            return
        if train.checkpoint_every and update % train.checkpoint_every == 0:
            directory.sync()
            _save_checkpoint(learner, source, directory.path / "checkpoints")


def _save_checkpoint(learner: ChainLearner, source: Source, folder: Path) -> None:
    learner.save(folder / f"checkpoint-{learner.done}", source.state())
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for old in found[:-_KEPT_CHECKPOINTS]:
        shutil.rmtree(old)


class _ChainsWatcher(Watcher):
    """Counts the completions that the source drew."""

    source: Source

    def _rollouts_until(self, update: int) -> int:
        return self.source.drawn(update)

    def record(self, update: int, draw: Draw, metrics: dict[str, float], *, keep: bool) -> None:
        self._append(update, "train", draw.metrics | metrics)
        if keep and draw.rollouts:
            at = {"update": update}
            self._directory.append("rollouts", *(r.model_copy(update=at) for r in draw.rollouts))
