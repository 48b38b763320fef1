"""A whole run: every arm with every seed, then the report."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from apportion.config import RunConfig, expand_arms
from apportion.errors import UserError
from apportion.records import RunDirectory, is_run
from apportion.report import write_card, write_report
from apportion.review import load_reviewer
from apportion.review.cache import ReviewCache
from apportion.tasks import load_task
from apportion.train.progress import RunProgress

# Settings that change what is printed or how fast, never what is learned.
_MAY_CHANGE = ("train.threads", "train.checkpoint_every")


def run_recipe(
    config: RunConfig,
    out: Path,
    *,
    resume: bool = False,
    clean: bool = False,
    plain: bool = False,
    command: Sequence[str] = (),
) -> Path:
    """Train all arms and seeds into ``out`` and write card and report; returns the report's path.

    Finished arms are skipped on resume, an unfinished one goes on from its newest checkpoint (or
    starts again without one). Raises UserError for what the user has to change; whatever was
    recorded until then stays.
    """
    _quiet_libraries()
    if config.objective == "warm_start":
        return _run_warm_start(config, out, resume, clean, plain, command)
    arms = expand_arms(config)
    _require_trust(arms)
    with RunDirectory(out, resume=resume, clean=clean) as top:
        top.write_config(config.model_dump(mode="json"), may_change=_MAY_CHANGE)
        top.write_manifest(list(command), seeds=config.seeds)
        cache = ReviewCache(out / "reviews.sqlite")
        total = sum(arm.train.updates * arm.train.epochs for _, _, arm in arms)
        try:
            with RunProgress(total, plain=plain) as progress:
                for name, seed, arm in arms:
                    progress.begin(f"{name} seed {seed}")
                    _run_one(arm, seed, out / f"{name}-s{seed}", cache, progress, command)
        except BaseException:
            # What was recorded until here can be looked at whatever stopped the run.
            if any(out.glob("*/metrics.jsonl")):
                write_report(out)
            raise
        finally:
            cache.close()
        top.finish()
        write_card(out)
        return write_report(out)


def _run_one(
    config: RunConfig,
    seed: int,
    folder: Path,
    cache: ReviewCache,
    progress: RunProgress,
    command: Sequence[str],
) -> None:
    from apportion.train.arm import run_arm

    manifest = folder / "manifest.json"
    if manifest.is_file() and "finished" in json.loads(manifest.read_text(encoding="utf-8")):
        progress.say("already finished")
        progress.advance(config.train.updates * config.train.epochs)
        return
    with RunDirectory(folder, resume=is_run(folder)) as directory:
        directory.write_config(config.model_dump(mode="json"), may_change=_MAY_CHANGE)
        directory.write_manifest(list(command), seeds=[seed])
        run_arm(config, seed, directory, cache=cache, progress=progress)


def _require_trust(arms: Sequence[tuple[str, int, RunConfig]]) -> None:
    """Measure each reviewer of the arms on planted errors before any of them may train."""
    from apportion.review.check import measure_on_task, require_trust

    measured: set[str] = set()
    for name, _, arm in arms:
        task = load_task(arm.task)
        for spec in arm.reviewers:
            key = json.dumps([arm.task, spec, arm.train.trust], sort_keys=True, default=str)
            if key in measured:
                continue
            measured.add(key)
            report = measure_on_task(load_reviewer(spec), task)
            if report is None:  # the task cannot plant errors, so nothing can be measured
                continue
            try:
                require_trust(report, force=arm.train.trust == "force")
            except UserError as error:
                raise UserError(f"arm {name}: {error}") from None


def _run_warm_start(
    config: RunConfig, out: Path, resume: bool, clean: bool, plain: bool, command: Sequence[str]
) -> Path:
    from apportion.train.warm_start import warm_start

    with (
        RunDirectory(out, resume=resume, clean=clean) as top,
        RunProgress(0, plain=plain) as progress,
    ):
        top.write_config(config.model_dump(mode="json"))
        top.write_manifest(list(command), seeds=config.seeds)
        model = out / "checkpoints" / "final"
        accuracy = warm_start(
            load_task(config.task),
            model,
            seed=config.seeds[0],
            say=progress.say,
            **config.warm_start.model_dump(),
        )
        top.finish(accuracy=accuracy)
        progress.say(f"saved with validation accuracy {accuracy:.3f}")
    return model


def _quiet_libraries() -> None:
    """Progress is ours to print, and nothing is sent anywhere."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.* is deprecated")
    from transformers.utils import logging

    logging.disable_progress_bar()
