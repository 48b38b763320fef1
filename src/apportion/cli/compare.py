"""``apportion compare``: runs or arms side by side, with paired statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apportion.cli.console import say


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Run directories; or one with its arms.")
    ],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("comparison.html"),
) -> None:
    """Compare runs, or the arms of one: differences with intervals, curves, traces side by side."""
    from rich.console import Console

    from apportion.report import compare_runs

    Console(highlight=False).print(compare_runs(runs, out))
    say(str(out))
