"""Learning, while training, which reviewers' credit helps."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from transformers import TrainerCallback

from apportion.config import RunConfig
from apportion.consensus.bandit import BanditOptions, ReviewerBandit
from apportion.consensus.weights import log_odds_weights
from apportion.errors import UserError
from apportion.policies.base import Policy
from apportion.records import RunDirectory
from apportion.tasks import Task
from apportion.trace import Problem
from apportion.train.measure.evaluate import sample_scored
from apportion.train.progress import RunProgress

Z = 1.96


class Measured(NamedTuple):
    """Accuracy of sampled completions on fixed problems, and the standard error of sampling."""

    accuracy: float
    error: float
    completions: int

    def as_json(self) -> dict[str, float]:
        low, high = self.accuracy - Z * self.error, self.accuracy + Z * self.error
        figures = {"value": self.accuracy, "n": self.completions, "low": low, "high": high}
        # A resumed run must go on with the same number to the last digit.
        return figures | {"error": self.error}

    @classmethod
    def from_json(cls, value: Mapping[str, float]) -> Measured:
        return cls(value["value"], value["error"], int(value["n"]))


def sampled_accuracy(
    policy: Policy,
    task: Task,
    problems: Sequence[Problem],
    *,
    samples: int,
    temperature: float,
    max_tokens: int,
    seed: int = 0,
) -> Measured:
    """Accuracy at a temperature. The P problems are fixed, so only the sampling is random: with k
    of n right on problem i and p = (k + 1/2) / (n + 1), the error is sqrt(sum p (1 - p) / n) / P.

    Raises UserError where no problem has an answer.
    """
    how = {"n": samples, "temperature": temperature, "max_tokens": max_tokens}
    rollouts = sample_scored(policy, task, problems, seed=seed, **how)
    right: dict[str, list[bool]] = {}
    for rollout in rollouts:
        if rollout.outcome is not None:
            right.setdefault(rollout.problem.id, []).append(rollout.outcome > 0.5)
    if not right:
        raise UserError("metalearning: no validation problem has an answer to measure gains by")
    shares = [(sum(of_one), len(of_one)) for of_one in right.values()]
    smooth = [((k + 0.5) / (n + 1), n) for k, n in shares]
    accuracy = sum(k / n for k, n in shares) / len(shares)
    error = math.sqrt(sum(p * (1 - p) / n for p, n in smooth)) / len(shares)
    return Measured(accuracy, error, sum(n for _, n in shares))


class ReviewerValue(TrainerCallback):
    """Gives blocks of updates to reviewers, attributes the gains, and sets the weights.

    Every boundary of two blocks is a line of ``metrics.jsonl`` (docs/metrics.md, ``reviewer/``)
    with all that was decided and why; a resumed run takes up the thread from these lines. Once
    exploration is over nothing is measured any more.
    """

    def __init__(
        self,
        config: RunConfig,
        seed: int,
        task: Task,
        policy: Policy,
        directory: RunDirectory,
        progress: RunProgress,
        *,
        names: Sequence[str],
        set_weights: Callable[[Mapping[str, float]], None],
    ) -> None:
        """Raises UserError as ``ReviewerBandit`` does, or where the recorded blocks do not belong
        to this configuration."""
        self._config, self._seed, self._task, self._policy = config, seed, task, policy
        self._directory, self._progress, self._set_weights = directory, progress, set_weights
        options = config.metalearning
        # No problem of the evaluation: those are looked at to judge the run itself.
        self._problems = task.problems("validation", options.problems, config.eval.seed + 1)
        rates = config.consensus.rates
        start = log_odds_weights(rates) if isinstance(rates, dict) else {}
        chosen = BanditOptions(**options.model_dump(include=set(BanditOptions._fields)))
        self.bandit = ReviewerBandit(names, chosen, seed=seed, start=start)
        self._told = 0
        self._last: Measured | None = None
        self._replay()

    # -- called by the trainer -------------------------------------------------------------------

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._last is None:
            self._last = self._measure()
            self._begin_block(state.global_step, {})
        else:
            self._set_weights(self.bandit.block_weights())

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.bandit.settled or state.global_step % self._config.metalearning.every:
            return
        assert self._last is not None
        before, self._last = self._last, self._measure()
        gain = self._last.accuracy - before.accuracy
        error = math.hypot(self._last.error, before.error)
        used = self.bandit.next_block()
        self.bandit.observe(gain, error)
        block = {
            "reviewer/used": json.dumps(used),
            "reviewer/gain": Measured(gain, error, self._last.completions).as_json(),
        }
        self._begin_block(state.global_step, block)

    # -- work ------------------------------------------------------------------------------------

    def _measure(self) -> Measured:
        options = self._config.metalearning
        return sampled_accuracy(
            self._policy,
            self._task,
            self._problems,
            samples=options.samples,
            temperature=self._config.train.temperature,
            max_tokens=self._config.train.max_completion_tokens,
            seed=self._seed,
        )

    def _begin_block(self, update: int, metrics: dict[str, Any]) -> None:
        """Decide on the next block, and record the boundary."""
        assert self._last is not None
        self.bandit.next_block()
        self._set_weights(self.bandit.block_weights())
        decided = self.bandit.decisions[self._told :]
        self._told = len(self.bandit.decisions)
        for decision in decided:
            if decision.action != "assigned":
                self._progress.say(f"reviewers, {decision}")
        values, weights = self.bandit.values(), self.bandit.weights()
        metrics["reviewer/accuracy"] = self._last.as_json()
        for name, value in values.items():
            metrics[f"reviewer/value/{name}"] = {
                "value": value.mean,
                "n": value.blocks,
                "low": value.low,
                "high": value.high,
            }
        metrics |= {f"reviewer/weight/{name}": weight for name, weight in weights.items()}
        metrics["reviewer/decisions"] = json.dumps([decision._asdict() for decision in decided])
        train = self._config.train
        rollouts = update // train.epochs * train.rollouts_per_update
        line = {"update": update, "rollouts": rollouts, "split": "validation", "metrics": metrics}
        self._directory.append("metrics", line)

    def _replay(self) -> None:
        """Take up what was recorded before a run was resumed."""
        for line in self._directory.read("metrics")[0]:
            accuracy = line.metrics.get("reviewer/accuracy")
            if not isinstance(accuracy, dict):
                continue
            self._last = Measured.from_json(accuracy)
            gain = line.metrics.get("reviewer/gain")
            if isinstance(gain, dict):
                used = tuple(json.loads(str(line.metrics.get("reviewer/used"))))
                if used != self.bandit.next_block():
                    raise UserError(
                        f"{self._directory.path}: the block before update {line.update} was given "
                        f"to {', '.join(used)}, which these settings would not have done: resume "
                        "with the settings of its config.yaml"
                    )
                seen = Measured.from_json(gain)
                self.bandit.observe(seen.accuracy, seen.error)
            self.bandit.next_block()
            self._told = len(self.bandit.decisions)
