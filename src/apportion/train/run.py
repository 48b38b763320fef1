"""A whole run: every arm with every seed, then the report."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from apportion.config import RunConfig, expand_arms
from apportion.errors import UserError
from apportion.records import RunDirectory, is_run, write_text_atomic
from apportion.report import write_card, write_report, write_verdicts
from apportion.review.cache import ReviewCache
from apportion.tasks import load_task
from apportion.train.jobs import Job, raise_failures, run_jobs
from apportion.train.progress import JobsProgress, RunProgress
from apportion.train.trust import Reports, trusted_arms

# Settings that change what is printed or how fast, never what is learned.
_MAY_CHANGE = ("train.threads", "train.checkpoint_every")
_CACHE = "reviews.sqlite"


def run_recipe(
    config: RunConfig,
    out: Path,
    *,
    resume: bool = False,
    clean: bool = False,
    plain: bool = False,
    processes: int = 1,
    command: Sequence[str] = (),
) -> Path:
    """Train all arms and seeds into ``out`` and write card and report; returns the report's path.

    All arms of a seed come before the next seed, so that what an interrupted run leaves can be
    compared. With several ``processes`` that many arms and seeds train at once (see ``run_jobs``).
    Finished arms are skipped on resume, an unfinished one goes on from its newest checkpoint (or
    starts again without one). Raises UserError for what the user has to change; whatever was
    recorded until then stays.
    """
    quiet_libraries()
    if config.objective == "warm_start":
        if processes > 1:
            raise UserError("objective warm_start is a single job: leave out --jobs")
        return _run_warm_start(config, out, resume, clean, plain, command)
    arms, measured = trusted_arms(expand_arms(config), out)
    jobs = [
        Job(name, seed, arm, out / f"{name}-s{seed}")
        for wanted in config.seeds
        for name, seed, arm in arms
        if seed == wanted
    ]
    with RunDirectory(out, resume=resume, clean=clean) as top:
        _write_config(top, config)
        top.write_manifest(list(command), seeds=config.seeds)
        _write_measured(out, measured)
        try:
            if processes > 1:
                _run_many(jobs, processes, out, plain, command)
            else:
                _run_in_turn(jobs, out, plain, command)
        except BaseException:
            # What was recorded until here can be looked at whatever stopped the run.
            if any(out.glob("*/metrics.jsonl")):
                write_report(out)
            raise
        top.finish()
        write_verdicts(out)
        write_card(out)
        return write_report(out)


def _write_measured(out: Path, reports: Reports) -> None:
    """``reviewers.json``: what was measured of each reviewer before it might train."""
    known = {name: r.model_dump(mode="json") for name, r in reports.items() if r is not None}
    if known:
        write_text_atomic(out / "reviewers.json", json.dumps(known, indent=1) + "\n")


def _run_in_turn(jobs: Sequence[Job], out: Path, plain: bool, command: Sequence[str]) -> None:
    total = sum(job.updates for job in jobs)
    failures = []
    with ReviewCache(out / _CACHE) as cache, RunProgress(total, plain=plain) as progress:
        for job in jobs:
            progress.begin(job.name)
            if _is_finished(job.folder):
                progress.say("already finished")
                progress.advance(job.updates)
                continue
            try:
                run_one(job.config, job.seed, job.folder, cache, progress, command)
            except UserError as error:
                progress.say(f"failed: {error}")
                failures.append(f"{job.name}: {error}")
    raise_failures(failures, len(jobs))


def _run_many(
    jobs: Sequence[Job], processes: int, out: Path, plain: bool, command: Sequence[str]
) -> None:
    with JobsProgress(sum(job.updates for job in jobs), plain=plain) as progress:
        left = []
        for job in jobs:
            if _is_finished(job.folder):
                progress.say(job.name, "already finished")
                progress.advance(job.name, job.updates)
            else:
                left.append(job)
        run_jobs(left, processes, cache=out / _CACHE, progress=progress, command=command)


def _is_finished(folder: Path) -> bool:
    manifest = folder / "manifest.json"
    return manifest.is_file() and "finished" in json.loads(manifest.read_text(encoding="utf-8"))


def run_one(
    config: RunConfig,
    seed: int,
    folder: Path,
    cache: ReviewCache,
    progress: RunProgress,
    command: Sequence[str] = (),
) -> None:
    """Train one arm with one seed into ``folder``, going on with what is there."""
    from apportion.train.arm import run_arm

    with RunDirectory(folder, resume=is_run(folder)) as directory:
        _write_config(directory, config)
        directory.write_manifest(list(command), seeds=[seed])
        run_arm(config, seed, directory, cache=cache, progress=progress)


def _write_config(directory: RunDirectory, config: RunConfig) -> None:
    defaults = RunConfig(name=config.name).model_dump(mode="json")
    settings = config.model_dump(mode="json")
    directory.write_config(settings, may_change=_MAY_CHANGE, defaults=defaults)


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


def quiet_libraries() -> None:
    """Progress is ours to print, and nothing is sent anywhere."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.* is deprecated")
    from transformers.utils import logging

    logging.disable_progress_bar()
