"""Progress of a run: bars with the remaining time on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import sys
from typing import Self, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)


class _Display:
    """A console with bars above which lines are printed; without bars where ``plain`` is given or
    the output is no terminal. Several threads may use it."""

    def __init__(self, *, plain: bool) -> None:
        self._console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self._bars: Progress | None = None
        if not plain and self._console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("updates, remaining"),
                TimeRemainingColumn(),
                console=self._console,
            )

    def _print(self, name: str, line: str) -> None:
        self._console.print(f"{name}: {line}" if name else line, markup=False)

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.stop()


class RunProgress(_Display):
    """Counts updates over all arms and seeds, one after the other."""

    def __init__(self, total_updates: int, *, plain: bool = False) -> None:
        super().__init__(plain=plain)
        self._prefix = ""
        self._task = self._bars.add_task("", total=total_updates) if self._bars else None

    def begin(self, name: str) -> None:
        """Following lines belong to this arm and seed."""
        self._prefix = name
        if self._bars and self._task is not None:
            self._bars.update(self._task, description=name)

    def say(self, line: str) -> None:
        self._print(self._prefix, line)

    def advance(self, updates: int = 1) -> None:
        if self._bars and self._task is not None:
            self._bars.advance(self._task, updates)


class SentProgress(RunProgress):
    """Progress of a job in a process of its own: one JSON object a line, for the parent to show."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(0, plain=True)
        self._stream = stream

    def say(self, line: str) -> None:
        self._send({"say": line})

    def advance(self, updates: int = 1) -> None:
        self._send({"advance": updates})

    def done(self, reason: str | None) -> None:
        """The job came to its end; with a ``reason`` it failed."""
        self._send({"done": reason})

    def _send(self, message: dict[str, str | int | None]) -> None:
        self._stream.write(json.dumps(message) + "\n")
        self._stream.flush()


class JobsProgress(_Display):
    """Several jobs at once: a bar for all updates and one for each job that runs."""

    def __init__(self, total_updates: int, *, plain: bool = False) -> None:
        super().__init__(plain=plain)
        self._jobs: dict[str, TaskID] = {}
        self._all = self._bars.add_task("all", total=total_updates) if self._bars else None

    def begin(self, name: str, updates: int) -> None:
        if self._bars:
            self._jobs[name] = self._bars.add_task(name, total=updates)

    def say(self, name: str, line: str) -> None:
        self._print(name, line)

    def advance(self, name: str, updates: int = 1) -> None:
        if self._bars and self._all is not None:
            self._bars.advance(self._all, updates)
            if name in self._jobs:
                self._bars.advance(self._jobs[name], updates)

    def end(self, name: str) -> None:
        if self._bars and name in self._jobs:
            self._bars.remove_task(self._jobs.pop(name))
