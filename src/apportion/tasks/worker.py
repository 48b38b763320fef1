"""A child process for code that may hang: symbolic comparison, third-party verifiers.

One line of JSON each way. A request that is late kills the child; the next one gets a new child.
A thread or a signal could not stop such code.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import subprocess
import sys
import threading
from functools import cache
from typing import Any

START_LIMIT = 120.0


class Late:
    """Stands for the reply that did not come in time, or died with its child."""


class Worker:
    """Asks one persistent child at a time; safe to share between threads and after a fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._replies: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._owner = 0
        atexit.register(self.close)

    @property
    def pid(self) -> int | None:
        """Process id of the child, None where there is none."""
        return self._child.pid if self._child is not None else None

    def ask(self, request: dict[str, Any], time_limit: float) -> Any:
        """The child's reply, or the class ``Late`` after ``time_limit`` seconds.

        Raises:
            RuntimeError: the child cannot start, or reports a fault of the request itself.
        """
        if self._owner != os.getpid():  # the child and the lock belong to the parent of a fork
            self._lock, self._child, self._owner = threading.Lock(), None, os.getpid()
        with self._lock:
            child = self._running()
            assert child.stdin is not None
            try:
                child.stdin.write(json.dumps(request) + "\n")
                child.stdin.flush()
                line = self._replies.get(timeout=time_limit)
            except (queue.Empty, BrokenPipeError):
                line = ""
            if not line:
                self._kill()
                return Late
        reply = json.loads(line)
        if "fault" in reply:
            raise RuntimeError(reply["fault"])
        return reply["value"]

    def close(self) -> None:
        """End the child, if this process started it."""
        if self._owner == os.getpid():
            self._kill()

    def _running(self) -> subprocess.Popen[str]:
        if self._child is not None and self._child.poll() is None:
            return self._child
        self._replies = queue.SimpleQueue()
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "apportion.tasks.worker_main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        threading.Thread(target=_pump, args=(self._child, self._replies), daemon=True).start()
        # Imports take seconds on a busy machine and must not count as a slow answer.
        try:
            ready = self._replies.get(timeout=START_LIMIT)
        except queue.Empty:
            ready = ""
        if not ready:
            self._kill()
            raise RuntimeError("the worker process that compares answers did not start")
        return self._child

    def _kill(self) -> None:
        if self._child is None:
            return
        self._child.kill()
        self._child.wait()
        self._child = None


def _pump(child: subprocess.Popen[str], replies: queue.SimpleQueue[str]) -> None:
    """Move lines to the queue; an empty line tells that the child is gone."""
    assert child.stdout is not None
    for line in child.stdout:
        replies.put(line)
    replies.put("")


@cache
def shared_worker() -> Worker:
    """The worker of this process."""
    return Worker()
