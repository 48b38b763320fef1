"""One arm with one seed: an agent that imitates, then learns from the returns of its episodes."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from apportion.config import RunConfig
from apportion.records import RunDirectory
from apportion.stats import Estimate, mean, share, stratified_bootstrap
from apportion.tasks import load_environment
from apportion.tasks.base import Split
from apportion.trace import Problem, Rollout
from apportion.train.agent.imitate import agent_policy, imitate
from apportion.train.agent.learner import AgentLearner
from apportion.train.agent.player import Episode, Player
from apportion.train.callbacks import Watcher
from apportion.train.draws import in_turn, training_problems
from apportion.train.loop import run_updates
from apportion.train.measure.cost_meter import CostMeter
from apportion.train.measure.evaluate import Evaluation
from apportion.train.progress import RunProgress
from apportion.train.setup import Arm, prepare, resume_point

_BATCH = 128


def run_agent_arm(
    config: RunConfig, seed: int, directory: RunDirectory, *, progress: RunProgress
) -> None:
    """Imitate, train, evaluate and record; goes on from the newest checkpoint if there is one.

    Raises UserError where the configuration or the policy cannot be used, and where the task
    cannot be played turn by turn.
    """
    prepare(config, seed)
    environment = load_environment(config.task)
    checkpoint = resume_point(directory)
    policy = agent_policy(config, environment, seed, checkpoint)
    player = Player(policy, environment, config.agent)
    learner = AgentLearner(player, config)
    arm = Arm(config, seed, environment, policy, directory, progress)
    watcher = _AgentWatcher(arm)
    watcher.player = player
    started = time.monotonic()
    if checkpoint is None:
        _start(config, seed, player, watcher, progress)
    else:
        learner.load(checkpoint)
    _learn(arm, learner, watcher)
    final = watcher.final()
    policy.save(directory.path / "checkpoints" / "final")
    directory.finish(seconds=round(time.monotonic() - started, 1), alarm=watcher.alarm_text)
    progress.say(f"test return {final.value('eval/return'):.3f}")


def _start(
    config: RunConfig, seed: int, player: Player, watcher: _AgentWatcher, progress: RunProgress
) -> None:
    split, count = config.eval.split, config.agent.check_problems
    problems = player.environment.problems(split, count, config.eval.seed)

    def greedy_return() -> float:
        with watcher.meter.paused():
            return measure(player, problems).value("eval/return")

    updates = imitate(player, config, seed, greedy_return, progress.say)
    # From here on the same numbers are drawn however long the imitation took.
    torch.manual_seed(seed)
    watcher.add(0, {"agent/imitation_updates": float(updates)})
    watcher.evaluate(0)


def _learn(arm: Arm, learner: AgentLearner, watcher: _AgentWatcher) -> None:
    config, size = arm.config, arm.config.train.prompts_per_update
    # The first problems were for imitation, unless there are no more.
    skipped = config.agent.plays
    drawn = training_problems(arm.task, skipped + config.train.updates * size, arm.seed)
    problems = drawn[skipped:] or drawn
    run_updates(
        arm,
        done=learner.done,
        step=lambda update: watcher.record(
            learner.update(in_turn(problems, size, update)), learner
        ),
        after=watcher.after,
        save=learner.save,
    )


class _AgentWatcher(Watcher):
    """Measures episodes where others measure completions."""

    player: Player

    @property
    def meter(self) -> CostMeter:
        return self._meter

    def add(self, update: int, metrics: dict[str, float]) -> None:
        self._append(update, "train", metrics)

    def record(self, metrics: dict[str, float], learner: AgentLearner) -> None:
        """The figures of an update, and its episodes every ``train.record_every``."""
        every, update = self._config.train.record_every, learner.done
        self._meter.tokens += sum(episode.decisions for episode in learner.episodes)
        self._append(update, "train", metrics)
        if every and update % every == 0:
            self._directory.append("rollouts", *rollouts_of(learner.episodes, update))

    def final(self) -> Evaluation:
        """Measure on the final split and keep its first episodes."""
        settings, update = self._config.eval, self._config.train.updates
        split: Split = settings.final_split
        problems = self._task.problems(split, settings.final_problems, settings.seed)
        with self._meter.paused():
            found = measure(self.player, problems)
        self._append(update, split, found.as_json())
        self._directory.append("rollouts", *found.rollouts[: settings.showcase])
        return found

    def _measure(self) -> Evaluation:
        return measure(self.player, self._problems)

    def _make_meter(self) -> CostMeter:
        return CostMeter(self._policy.model, counts_tokens=False)


def measure(player: Player, problems: Sequence[Problem]) -> Evaluation:
    """Greedy episodes: return, share won, turns, decisions and thoughts, with intervals."""
    episodes: list[Episode] = []
    with torch.no_grad():
        for start in range(0, len(problems), _BATCH):
            episodes += player.play(problems[start : start + _BATCH], temperature=0.0)
    scores = [episode.turn.score for episode in episodes]
    decisions = _average([float(episode.decisions) for episode in episodes])
    turns = _average([float(len(episode.actions)) for episode in episodes])
    metrics: dict[str, Estimate] = {
        "eval/return": _average(scores),
        "eval/decisions": decisions,
        "eval/thoughts": _average([float(episode.thoughts) for episode in episodes]),
        "eval/length": decisions,
        "eval/steps": turns,
    }
    won = share(sum(score == 1.0 for score in scores), len(scores))
    metrics |= {"eval/accuracy": won} if won else {}
    return Evaluation(metrics, rollouts_of(episodes, None), [])


def _average(values: Sequence[float]) -> Estimate:
    found = stratified_bootstrap(values, statistic=mean)
    assert found is not None  # a mean exists of any values
    return found


def rollouts_of(episodes: Sequence[Episode], update: int | None) -> list[Rollout]:
    """Episodes as records: the text is the episode after its prompt, the outcome its return."""
    return [
        Rollout(
            id=f"{episode.problem.id}/{'test' if update is None else f'u{update}'}/{index}",
            problem=episode.problem,
            text=episode.text,
            outcome=episode.turn.score,
            reasoning_end=len(episode.text),
            policy="agent",
            group=episode.problem.id,
            update=update,
            finish="stop",
            meta={
                "actions": episode.actions,
                "decisions": episode.decisions,
                "thoughts": episode.thoughts,
            },
        )
        for index, episode in enumerate(episodes)
    ]
