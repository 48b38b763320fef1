"""What a person sees while a verb runs. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any, Self

import typer

SPEC_HELP = "a name, name:option=value,option=value, or a YAML file"

_SECONDS_BETWEEN_LINES = 10.0


def say(text: str) -> None:
    """A result, on stdout."""
    typer.echo(text)


def note(text: str) -> None:
    """Something on the way, on stderr."""
    typer.echo(text, err=True)


def complain(complaints: Sequence[str], shown: int = 5) -> None:
    """The first few complaints and how many more there are."""
    for text in complaints[:shown]:
        note(f"warning: {text}")
    if len(complaints) > shown:
        note(f"warning: and {len(complaints) - shown} more such records, listed in manifest.json")


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """``45 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class Progress:
    """A live bar with rate and remaining time on a terminal, else a plain line now and then.

    ``detail`` (the cost so far, say) is shown behind the figures.
    """

    def __init__(self, label: str, total: int, *, plain: bool) -> None:
        self._label = label
        self._total = total
        self._done = 0
        self._started = self._spoken = time.monotonic()
        self._bar: Any = None
        if not plain and sys.stderr.isatty():
            self._bar = _rich_bar()
            self._task = self._bar.add_task(label, total=total, detail="", rate="")

    def advance(self, count: int = 1, detail: str = "") -> None:
        self._done += count
        if self._bar is not None:
            rate = f"{self._rate():.1f}/s"
            self._bar.update(self._task, advance=count, detail=detail, rate=rate)
        elif self._done < self._total:
            now = time.monotonic()
            if now - self._spoken >= _SECONDS_BETWEEN_LINES:
                self._spoken = now
                note(self._line(detail))

    def _rate(self) -> float:
        return self._done / max(time.monotonic() - self._started, 1e-9)

    def _line(self, detail: str) -> str:
        rate = self._rate()
        left = (self._total - self._done) / rate
        tail = f", {detail}" if detail else ""
        figures = f"{rate:.1f}/s, {duration(left)} left"
        return f"{self._label}: {self._done:,}/{self._total:,}, {figures}{tail}"

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _rich_bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
        console=Console(stderr=True),
    )


def table(rows: Sequence[tuple[str, str]]) -> None:
    """Name and meaning, on stdout: aligned for a terminal, tab-separated for a program."""
    width = max((len(name) for name, _ in rows), default=0)
    for name, meaning in rows:
        say(f"{name:<{width}}  {meaning}" if sys.stdout.isatty() else f"{name}\t{meaning}")
