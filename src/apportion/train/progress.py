"""Progress of a run: a bar with the remaining time on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class RunProgress:
    """Counts updates over all arms and seeds, and prints lines above the bar.

    ``plain`` forces lines without a bar; so does an output that is no terminal.
    """

    def __init__(self, total_updates: int, *, plain: bool = False) -> None:
        self._console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self._prefix = ""
        self._bar: Progress | None = None
        if not plain and self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("updates, remaining"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._task = self._bar.add_task("", total=total_updates)

    def begin(self, name: str) -> None:
        """Following lines belong to this arm and seed."""
        self._prefix = name
        if self._bar:
            self._bar.update(self._task, description=name)

    def say(self, line: str) -> None:
        label = f"{self._prefix}: " if self._prefix else ""
        self._console.print(f"{label}{line}", markup=False)

    def advance(self, updates: int = 1) -> None:
        if self._bar:
            self._bar.advance(self._task, updates)

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()
