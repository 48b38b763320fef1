"""Arms and seeds in several processes at once, none of which outlives this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from apportion.config import RunConfig
from apportion.errors import UserError
from apportion.train.progress import JobsProgress

_LAST_LINES = 20


class Job(NamedTuple):
    """One arm with one seed, trained into ``folder``."""

    arm: str
    seed: int
    config: RunConfig
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.arm} seed {self.seed}"

    @property
    def updates(self) -> int:
        return self.config.train.updates * self.config.train.epochs


def run_jobs(
    jobs: Sequence[Job],
    processes: int,
    *,
    cache: Path,
    progress: JobsProgress,
    command: Sequence[str] = (),
) -> None:
    """Run all jobs, ``processes`` at a time, begun in the given order.

    Each process uses one torch thread, or ``train.threads`` of them. A job that fails does not
    stop the others. Raises UserError at the end that names each failed job and its reason.
    Whatever ends this function, or this process, ends the processes; their records and
    checkpoints stay.
    """
    pool = _Pool(jobs, cache, progress, command)
    count = min(processes, len(jobs))
    with ThreadPoolExecutor(max(count, 1)) as threads:
        try:
            for slot in [threads.submit(pool.work) for _ in range(count)]:
                slot.result()
        finally:
            pool.stop()
    raise_failures([pool.failures[index] for index in sorted(pool.failures)], len(jobs))


def raise_failures(failures: Sequence[str], jobs: int) -> None:
    """Raises UserError that names all failures, each a job and its reason; nothing without one."""
    if not failures:
        return
    if jobs == 1:
        raise UserError(failures[0])
    raise UserError(
        f"{len(failures)} of {jobs} jobs failed; what is done is kept, and --resume goes on once "
        f"the cause is gone: {'; '.join(failures)}"
    )


class _Pool:
    """Shares the jobs out to processes, and can end all of them at once."""

    def __init__(
        self, jobs: Sequence[Job], cache: Path, progress: JobsProgress, command: Sequence[str]
    ) -> None:
        self.failures: dict[int, str] = {}
        self._left = deque(enumerate(jobs))
        self._cache = cache
        self._progress = progress
        self._command = list(command)
        self._lock = threading.Lock()
        self._running: set[_Process] = set()
        self._stopped = False

    def stop(self) -> None:
        """End all processes and begin no other job."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.kill()

    def work(self) -> None:
        """Train jobs until none is left. A process is used again unless it died."""
        process = None
        while True:
            with self._lock:
                if self._stopped or not self._left:
                    return
                index, job = self._left.popleft()
                if process is None or not process.alive:
                    process = _Process()
                    self._running.add(process)
            self._progress.begin(job.name, job.updates)
            reason = process.train(job, self._cache, self._command, self._progress)
            self._progress.end(job.name)
            if reason is not None and not self._stopped:
                self._progress.say(job.name, f"failed: {reason}")
                self.failures[index] = f"{job.name}: {reason}"


class _Process:
    """A running ``job_main``. What its libraries write to stderr is passed on under the name of
    the job."""

    def __init__(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "apportion.train.job_main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            # Libraries read these once, when they are loaded; a job may set more for itself.
            env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
        self._job = ""
        self._killed = False
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._listener = threading.Thread(target=self._pass_on, daemon=True)
        self._listener.start()

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    def kill(self) -> None:
        self._killed = True
        self._child.kill()
        self._child.wait()

    def train(
        self, job: Job, cache: Path, command: Sequence[str], progress: JobsProgress
    ) -> str | None:
        """Train one job and show its progress; the reason if it failed."""
        assert self._child.stdin and self._child.stdout
        description = {
            "config": job.config.model_dump(mode="json"),
            "seed": job.seed,
            "folder": str(job.folder),
            "cache": str(cache),
            "command": list(command),
        }
        self._job = job.name
        with suppress(BrokenPipeError):  # it ended; its status says why
            self._child.stdin.write(json.dumps(description) + "\n")
            self._child.stdin.flush()
        for line in self._child.stdout:
            message = json.loads(line)
            if "done" in message:
                return message["done"]
            if "say" in message:
                progress.say(job.name, message["say"])
            if "advance" in message:
                progress.advance(job.name, message["advance"])
        return self._why_it_ended()

    def _why_it_ended(self) -> str:
        status = self._child.wait()
        # Something that the job left running may hold its stderr open.
        self._listener.join(timeout=2)
        if status < 0:
            return f"killed by signal {-status} (9 often means that the memory was full)"
        return self._last[-1] if self._last else f"ended with status {status}"

    def _pass_on(self) -> None:
        assert self._child.stderr
        for line in self._child.stderr:
            if line.strip() and not self._killed:
                self._last.append(line.strip())
                sys.stderr.write(f"{self._job}: {line}")
