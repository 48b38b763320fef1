"""Options that several verbs take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ReviewedTraces = Annotated[
    list[Path], typer.Argument(metavar="FILE|RUN", help="Traces, with their reviews.")
]
Columns = Annotated[list[str] | None, typer.Option(help="COLUMN=field; repeatable.")]
Segmenter = Annotated[str, typer.Option(help="How to cut; see apportion ls segmenters.")]
Consensus = Annotated[str | None, typer.Option(help="Such as union, or majority:quorum=0.8.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with --out.")]
Clean = Annotated[bool, typer.Option("--clean", help="Replace what is in --out.")]
Plain = Annotated[bool, typer.Option("--plain", help="Plain lines, no live display.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
