"""The end of an arm: final measurements, traces to look at, the trained model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apportion.review.cache import ReviewCache
from apportion.tasks import Task, load_task
from apportion.train.callbacks import Watcher
from apportion.train.grpo.signals import SignalSource, alarm_of, save_all
from apportion.train.measure.evaluate import Evaluation, answer_marker, as_json, evaluate
from apportion.train.measure.gap import gap_metrics
from apportion.train.measure.probes import TrainingProbes
from apportion.train.setup import Arm
from apportion.train.showcase import write_showcase


def finish_arm(
    arm: Arm,
    watcher: Watcher,
    *,
    seconds: float,
    has_chains: bool = True,
    cache: ReviewCache | None = None,
    signals: Sequence[SignalSource] = (),
) -> None:
    """Evaluate on the final split, keep some traces under every method, save the model.

    The measurements are those of the update that was reached, which an alarm may have made an early
    one. Without ``has_chains`` a completion is an answer alone, and there is nothing to credit.
    """
    config, seed, task, policy, directory, progress = arm
    update, rollouts = watcher.reached, watcher.rollouts_until(watcher.reached)
    final = _measure(arm, task)
    metrics = final.as_json() | as_json(gap_metrics(config, seed, task, policy, final.rollouts))
    if config.eval.transfer is not None:
        metrics |= _transfer(arm, config.eval.transfer)
    directory.append(
        "metrics",
        {
            "update": update,
            "rollouts": rollouts,
            "split": config.eval.final_split,
            "metrics": metrics,
        },
    )
    TrainingProbes(config, task, policy, directory).measure(update, rollouts)
    if has_chains:
        write_showcase(config, seed, task, policy, directory, update, cache, signals)
    checkpoint = directory.path / "checkpoints" / "final"
    policy.save(checkpoint)
    save_all(signals, checkpoint)
    directory.finish(seconds=round(seconds, 1), alarm=watcher.alarm_text or alarm_of(signals))
    progress.say(f"test {final.headline()} after {seconds:.0f} s")


def _measure(arm: Arm, task: Task) -> Evaluation:
    evaluation = arm.config.eval
    return evaluate(
        arm.policy,
        task,
        task.problems(evaluation.final_split, evaluation.final_problems, evaluation.seed),
        samples=evaluation.samples,
        ks=evaluation.k,
        max_tokens=arm.config.train.max_completion_tokens,
        segmenter=arm.config.segment,
        seed=arm.seed,
        answer_marker=answer_marker(arm.config),
    )


def _transfer(arm: Arm, spec: Any) -> dict[str, Any]:
    """What the policy does on ``eval.transfer``, a task that it was not trained on."""
    found = _measure(arm, load_task(spec))
    return {name.replace("eval/", "transfer/", 1): v for name, v in found.as_json().items()}
