"""One arm with one seed: a reward model trained on graded rollouts and good answers."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from apportion.config import RunConfig
from apportion.policies.reward_model import Answered, RewardModel
from apportion.records import RunDirectory
from apportion.stats import Estimate
from apportion.tasks import Task, load_task
from apportion.tasks.base import Split
from apportion.trace import Problem, Rollout
from apportion.train.draws import in_turn, training_problems
from apportion.train.loop import run_updates
from apportion.train.measure.evaluate import sample_scored
from apportion.train.progress import RunProgress
from apportion.train.reward_fit import Graded, RewardModelLearner, measure
from apportion.train.setup import Arm, prepare, resume_point, trainable_policy


def run_reward_model_arm(
    config: RunConfig, seed: int, directory: RunDirectory, *, progress: RunProgress
) -> None:
    """Train, measure and record; goes on from the newest checkpoint if there is one. The policy
    whose rollouts are graded is not trained.

    Raises UserError where the configuration, the task or the policy cannot be used.
    """
    prepare(config, seed)
    task, policy = load_task(config.task), trainable_policy(config)
    policy.model.eval()
    checkpoint = resume_point(directory)
    model = RewardModel.on_policy(
        policy, blind_to_reasoning=config.reward_model.blind_to_reasoning, seed=seed
    )
    learner = RewardModelLearner(model, config, seed)
    if checkpoint is not None:
        learner.load(checkpoint)
    arm = Arm(config, seed, task, policy, directory, progress)
    run = _Run(arm, learner)
    started = time.monotonic()
    if checkpoint is None:
        run.evaluate(config.eval.split, config.eval.problems)
    run_updates(arm, done=learner.done, step=run.step, after=run.after, save=learner.save)
    final = run.evaluate(config.eval.final_split, config.eval.final_problems)
    model.save(directory.path / "checkpoints" / "final")
    directory.finish(seconds=round(time.monotonic() - started, 1), alarm=None)
    progress.say(
        f"held-out squared error {final['reward_model/mse'].value:.3f}, of a constant "
        f"{final['reward_model/constant_mse'].value:.3f}"
    )


class _Run:
    """What the loop needs at every update."""

    def __init__(self, arm: Arm, learner: RewardModelLearner) -> None:
        config, seed, task, policy, directory, _ = arm
        self._config, self._seed, self._task = config, seed, task
        self._policy, self._learner, self._directory = policy, learner, directory
        wanted = config.train.updates * config.train.prompts_per_update
        self._problems = training_problems(task, wanted, seed)

    def step(self, update: int) -> None:
        """Sample, grade, mix with good answers, learn, record."""
        started = time.monotonic()
        train, learner = self._config.train, self._learner
        problems = in_turn(self._problems, train.prompts_per_update, update)
        # Other draws than those of the held-out measurements, and the same after a resume.
        draw = 2 + self._seed * 1_000_003 + learner.done
        rollouts = self._sample(problems, train.group_size, draw)
        graded = as_graded(rollouts)
        good = good_answers(self._task, problems) * self._config.reward_model.good_answers
        metrics: dict[str, object] = dict(learner.step([*graded, *good]))
        if graded:
            metrics["reward/mean"] = float(np.mean([one.grade for one in graded]))
        metrics["train/length"] = float(np.mean([len(r.token_ids) for r in rollouts]))
        metrics["train/seconds"] = time.monotonic() - started
        self._append("train", metrics)
        if train.record_every and learner.done % train.record_every == 0:
            self._directory.append(
                "rollouts",
                *(
                    r.model_copy(update={"id": f"u{learner.done}/{i}", "update": learner.done})
                    for i, r in enumerate(rollouts)
                ),
            )

    def after(self, update: int) -> bool:
        """Measure where it is due; there is no alarm that stops."""
        evaluation = self._config.eval
        if evaluation.every and update % evaluation.every == 0:
            self.evaluate(evaluation.split, evaluation.problems)
        return False

    def evaluate(self, split: Split, count: int) -> dict[str, Estimate]:
        """Measure on one fresh rollout of each held-out problem, always the same ones."""
        problems = self._task.problems(split, count, self._config.eval.seed)
        held_out = as_graded(self._sample(problems, 1, 1))
        found = measure(self._learner.reward_model, held_out)
        self._append(
            split,
            {
                k: {"value": e.value, "n": e.n, "low": e.low, "high": e.high}
                for k, e in found.items()
            },
        )
        return found

    def _sample(self, problems: Sequence[Problem], n: int, seed: int) -> list[Rollout]:
        return sample_scored(
            self._policy,
            self._task,
            problems,
            n=n,
            temperature=self._config.train.temperature,
            max_tokens=self._config.train.max_completion_tokens,
            seed=seed,
        )

    def _append(self, split: str, metrics: dict[str, object]) -> None:
        done = self._learner.done
        self._directory.append(
            "metrics",
            {
                "update": done,
                "rollouts": done * self._config.train.rollouts_per_update,
                "split": split,
                "metrics": metrics,
            },
        )


def as_graded(rollouts: Sequence[Rollout]) -> list[Graded]:
    """The rollouts that have an outcome."""
    return [
        Graded(Answered(r.problem, r.text, r.reasoning_end), r.outcome)
        for r in rollouts
        if r.outcome is not None
    ]


def good_answers(task: Task, problems: Sequence[Problem]) -> list[Graded]:
    """The gold solution of each problem that has one, worth 1."""
    found = []
    for problem in problems:
        text = task.gold_completion(problem)
        if text:
            found.append(Graded(Answered(problem, text, task.reasoning_end(text)), 1.0))
    return found
