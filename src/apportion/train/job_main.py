"""A process that trains one job after the other: ``python -m apportion.train.job_main``.

The parent (``train.jobs``) writes each job as one line of JSON and keeps the pipe open for as long
as it lives. When the pipe closes, however the parent came to its end, this process ends too: what
it recorded stays, and a run can go on from there. Progress and the end of each job go back as JSON
lines: ``{"say": text}``, ``{"advance": updates}``, ``{"done": null}`` or ``{"done": reason}``.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import threading
from pathlib import Path
from typing import Any

from apportion.errors import UserError


def main() -> None:
    # An interrupt goes to the parent as well, which ends its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    jobs, replies = os.dup(0), os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Nothing else may read the jobs or write between the replies.
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(jobs, waiting), daemon=True).start()

    from apportion.train.progress import SentProgress

    progress = SentProgress(replies)
    while True:
        job = waiting.get()
        try:
            _train(job, progress)
            progress.done(None)
        except UserError as error:
            progress.done(str(error))


def _train(job: dict[str, Any], progress: Any) -> None:
    import torch

    from apportion.config import RunConfig
    from apportion.review.cache import ReviewCache
    from apportion.train.run import quiet_libraries, run_one

    quiet_libraries()
    config = RunConfig.model_validate(job["config"])
    torch.set_num_threads(config.train.threads or 1)
    with ReviewCache(job["cache"]) as cache:
        run_one(config, job["seed"], Path(job["folder"]), cache, progress, job["command"])


def _listen(descriptor: int, waiting: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Take jobs in until the pipe closes, then end the process whatever it is doing."""
    text = b""
    # A buffered read would be in the way of the interpreter's shutdown.
    while chunk := os.read(descriptor, 65536):
        *lines, text = (text + chunk).split(b"\n")
        for line in lines:
            waiting.put(json.loads(line))
    os._exit(0)


if __name__ == "__main__":
    main()
