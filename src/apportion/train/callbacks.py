"""What happens beside training: evaluation, records, the collapse alarm, progress lines."""

from __future__ import annotations

import time
from typing import Any

from transformers import TrainerCallback

from apportion.train.grpo.batch import CreditedBatch
from apportion.train.likelihood.alarm import ChainAlarm
from apportion.train.measure.alarm import CollapseAlarm
from apportion.train.measure.cost_meter import CostMeter
from apportion.train.measure.evaluate import Evaluation, answer_marker, evaluate
from apportion.train.measure.gaming_alarm import GamingAlarm
from apportion.train.measure.gradient_signal import GradientSignal
from apportion.train.measure.probes import TrainingProbes
from apportion.train.setup import Arm

# TRL's log names and ours.
_FROM_TRL = {
    "loss": "train/loss",
    "grad_norm": "train/grad_norm",
    "reward": "reward/mean",
    "reward_std": "reward/std",
    "rewards/proxy/mean": "reward/proxy",
    "rewards/gold/mean": "reward/gold",
    "frac_reward_zero_std": "reward/equal_groups",
    "completions/mean_length": "train/length",
    "completions/clipped_ratio": "train/unfinished",
    "entropy": "train/entropy",
    "kl": "train/kl",
    "step_time": "train/seconds",
    "mean_token_accuracy": "train/token_accuracy",
    "rewards/accuracies": "preference/accuracy",
    "rewards/margins": "preference/margin",
}
_OURS = (
    "credit/",
    "review/",
    "gaming/",
    "imitation/",
    "likelihood/",
    "helper/",
    "value/",
    "token_model/",
    "effect/",
)


class Watcher(TrainerCallback):
    """Evaluates, records and watches one training run; only the main process writes."""

    def __init__(self, arm: Arm) -> None:
        config, _, task, policy, directory, progress = arm
        self.alarm_text: str | None = None
        self.reached = 0  # updates done, also where an alarm stops before the planned end
        self._config, self._task, self._policy = config, task, policy
        self._directory, self._progress = directory, progress
        self._alarm = CollapseAlarm(config.alarm)
        self._gaming = GamingAlarm(config.alarm)
        self._chains = ChainAlarm(config.reward)
        self._meter = self._make_meter()
        self._signal = GradientSignal(policy.model) if config.train.gradient_signal else None
        for line in directory.read("metrics")[0]:  # what a resumed run saw before
            self._meter.go_on_from(line.metrics)
            if line.split == "train":
                self.reached = line.update
                self._gaming.check(line.update, line.metrics)
                self._chains.check(line.update, line.metrics)
        self._problems = task.problems(config.eval.split, config.eval.problems, config.eval.seed)
        self._probes = TrainingProbes(config, task, policy, directory)
        self._started = time.monotonic()
        self._reviewer_down_said = False
        self._per_update = config.train.prompts_per_update * config.train.group_size

    # -- called by the trainer -------------------------------------------------------------------

    def on_credit(self, batch: CreditedBatch) -> None:
        """Record this generation's rollouts, reviews and credit."""
        if batch.metrics.get("review/failed") == 1.0 and not self._reviewer_down_said:
            error = next(r.error for reviews in batch.reviews for r in reviews if r.error)
            self._progress.say(
                f"every review failed ({error}): this update trains on the outcome alone"
            )
            self._reviewer_down_said = True
        every = self._config.train.record_every
        update = batch.rollouts[0].update or 0
        if every and update % every == 0:
            self._directory.append("rollouts", *batch.rollouts)
            self._directory.append("reviews", *(r for of_one in batch.reviews for r in of_one))
            self._directory.append("credit", *batch.records())

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if not logs or "loss" not in logs:
            return
        metrics = {ours: logs[theirs] for theirs, ours in _FROM_TRL.items() if theirs in logs}
        metrics |= {k: v for k, v in logs.items() if k.startswith(_OURS)}
        gaming = self._gaming.check(state.global_step, metrics)
        chains = self._chains.check(state.global_step, metrics)
        if gaming or chains:
            metrics["alarm"] = "; ".join([*gaming, *([chains] if chains else [])])
            self._progress.say(metrics["alarm"])
            stops_gaming = gaming and self._config.alarm.gaming == "stop"
            if stops_gaming or (chains and self._config.reward.collapse == "stop"):
                self.alarm_text = metrics["alarm"]
                control.should_training_stop = True
        self._append(state.global_step, "train", metrics)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._progress.advance()
        control.should_training_stop |= self.after(state.global_step)

    # -- work ------------------------------------------------------------------------------------

    def after(self, update: int) -> bool:
        """Probe and evaluate where this update is due; True if the alarm says to stop."""
        self.reached = update
        self.probe(update)
        every = self._config.eval.every
        return bool(every) and update % every == 0 and self.evaluate(update)

    def evaluate(self, update: int) -> bool:
        """Measure on held-out problems and record; True if the alarm says to stop."""
        with self._meter.paused():
            result = self._measure()
        self._append(update, self._config.eval.split, result.as_json())
        if update == 0:
            self.probe(0)
        graded = result.metrics.get("eval/accuracy")
        accuracy = graded.value if graded else None
        best = self._alarm.best_accuracy
        reason = self._alarm.check(
            update, accuracy, result.value("eval/length"), result.value("eval/steps")
        )
        if accuracy is not None and accuracy > best and self._config.alarm.enabled and update:
            self._keep_best()
        self._say_where(update, result)
        if reason is None:
            return False
        self.alarm_text = reason
        self._progress.say(f"{reason}; stopped")
        return True

    def probe(self, update: int) -> None:
        """Measure faithfulness where it is due."""
        if not self._probes.due(update):
            return
        with self._meter.paused():
            found = self._probes.measure(update, self.rollouts_until(update))
        if found:
            told = ", ".join(f"{name} {figure.value:.3f}" for name, figure in found.items())
            self._progress.say(f"update {update}: {told}")

    def _measure(self) -> Evaluation:
        return evaluate(
            self._policy,
            self._task,
            self._problems,
            max_tokens=self._config.train.max_completion_tokens,
            segmenter=self._config.segment,
            answer_marker=answer_marker(self._config),
        )

    def _keep_best(self) -> None:
        self._policy.save(self._directory.path / "checkpoints" / "best")

    def _append(self, update: int, split: str, metrics: dict[str, Any]) -> None:
        if self._signal is not None and split == "train":
            metrics = metrics | self._signal.metrics()
        self._directory.append(
            "metrics",
            {
                "update": update,
                "rollouts": self.rollouts_until(update),
                "split": split,
                "metrics": metrics | self._meter.metrics(self._examples_until(update)),
            },
        )

    def _make_meter(self) -> CostMeter:
        return CostMeter(self._policy.model)

    def rollouts_until(self, update: int) -> int:
        """Rollouts that were sampled to get to this update."""
        return update // self._config.train.epochs * self._per_update

    def _examples_until(self, update: int) -> int:
        """Problems that were learned from to get to this update, a repeated one each time."""
        return update // self._config.train.epochs * self._config.train.prompts_per_update

    def _say_where(self, update: int, result: Evaluation) -> None:
        total = self._config.train.updates * self._config.train.epochs
        elapsed = time.monotonic() - self._started
        rest = f", {elapsed / update * (total - update):.0f} s left" if update else ""
        split = self._config.eval.split
        self._progress.say(f"update {update}/{total}: {split} {result.headline()}{rest}")
