"""One arm with one seed of the objectives ``persona``, ``judge`` and ``reviewer_tokens``."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from apportion.config import RunConfig
from apportion.credit import load_method
from apportion.errors import UserError
from apportion.records import RunDirectory
from apportion.review import load_reviewer
from apportion.review.binding import bind_policy
from apportion.review.cache import ReviewCache
from apportion.review.report import Rate, ReviewerReport
from apportion.stats import Estimate
from apportion.tasks import load_task
from apportion.train.progress import RunProgress
from apportion.train.setup import Arm, prepare, trainable_policy
from apportion.train.voices.judge import make_chat, measure_judge, train_judge
from apportion.train.voices.persona import measure_persona, train_persona
from apportion.train.voices.styles import train_styles

PERSONA = "persona"  # folder of the adapter in the arm's directory


def run_voices_arm(
    config: RunConfig,
    seed: int,
    directory: RunDirectory,
    *,
    cache: ReviewCache | None = None,
    progress: RunProgress,
) -> None:
    """Train, measure on held-out problems and record. It is one piece: an unfinished arm starts
    again. The persona's adapter lies in ``persona``, a judge or a policy with tokens in
    ``checkpoints/final``.

    Raises UserError where the configuration, the task or the policy cannot be used.
    """
    prepare(config, seed)
    directory.rewind(-1)
    started = time.monotonic()
    run = {"persona": _persona, "judge": _judge, "reviewer_tokens": _reviewer_tokens}[
        config.objective
    ]
    policy = trainable_policy(config)
    arm = Arm(config, seed, load_task(config.task), policy, directory, progress)
    metrics, updates = run(arm, cache)
    directory.append(
        "metrics",
        {
            "update": updates,
            "split": "validation",
            "metrics": {name: _as_json(value) for name, value in metrics.items()},
        },
    )
    for name, value in metrics.items():
        progress.say(f"{name} {_as_text(value)}")
    progress.advance(config.train.updates * config.train.epochs)
    directory.finish(seconds=round(time.monotonic() - started, 1), alarm=None)


def _persona(arm: Arm, _: ReviewCache | None) -> tuple[dict[str, Any], int]:
    config, seed, task, policy, directory, progress = arm
    options = config.persona
    if config.policy.lora is not None:
        raise UserError("objective persona: the persona is the adapter: leave out policy.lora")
    folder = directory.path / PERSONA
    train_persona(
        policy,
        task,
        folder,
        **options.model_dump(exclude={"held_out"}),
        seed=seed,
        say=progress.say,
    )
    found = measure_persona(policy, task, folder, problems=options.held_out, seed=seed)
    return dict(found), options.updates


def _reviewer_tokens(arm: Arm, cache: ReviewCache | None) -> tuple[dict[str, Any], int]:
    config, seed, task, policy, directory, progress = arm
    reviewers = [load_reviewer(spec, cache=cache) for spec in config.reviewers]
    bind_policy(reviewers, policy)
    found = train_styles(
        policy,
        task,
        reviewers,
        load_method(config.credit),
        config.reviewer_tokens,
        voting=config.consensus.model_dump(),
        segmenter=config.segment,
        max_tokens=config.train.max_completion_tokens,
        temperature=config.train.temperature,
        seed=seed,
        say=progress.say,
    )
    policy.save(directory.path / "checkpoints" / "final")
    return found, config.reviewer_tokens.gold_updates + config.reviewer_tokens.updates


def _judge(arm: Arm, _: ReviewCache | None) -> tuple[dict[str, Any], int]:
    config, seed, task, policy, directory, progress = arm
    if config.policy.lora is not None:
        raise UserError("objective judge: all weights are trained: leave out policy.lora")
    make_chat(policy)
    before = measure_judge(policy, task, config.judge, seed)
    train_judge(policy, task, config.judge, seed=seed, say=progress.say)
    after = measure_judge(policy, task, config.judge, seed)
    policy.save(directory.path / "checkpoints" / "final")
    return _rates("judge_before", before) | _rates("judge", after), config.judge.updates


def _rates(prefix: str, report: ReviewerReport) -> dict[str, Any]:
    return {
        f"{prefix}/tpr": _estimate(report.tpr),
        f"{prefix}/fpr": _estimate(report.fpr),
        f"{prefix}/youden": _estimate(report.youden),
        f"{prefix}/failed": _estimate(report.failed),
    }


def _estimate(rate: Rate | None) -> Estimate | None:
    return None if rate is None else Estimate(rate.value, rate.n, rate.low, rate.high)


def _as_json(value: Estimate | float | None) -> Any:
    return asdict(value) if isinstance(value, Estimate) else value


def _as_text(value: Estimate | float | None) -> str:
    if not isinstance(value, Estimate):
        return "-" if value is None else f"{value:.3f}"
    interval = "" if value.low is None else f" [{value.low:.3f}, {value.high:.3f}]"
    return f"{value.value:.3f}{interval} of {value.n}"
