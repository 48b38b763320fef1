"""``apportion export``: records in the formats of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apportion.cli.console import complain, note, plural, say


def export(
    source: Annotated[
        Path, typer.Argument(metavar="RUN|TRACES", help="A run of one arm, or traces.")
    ],
    format: Annotated[str, typer.Option("--format", help="thought-anchors or trl.")],
    out: Annotated[Path, typer.Option(help="Directory to write, which must be new or empty.")],
    map: Annotated[
        list[str] | None, typer.Option("--map", help="COLUMN=FIELD; repeatable.")
    ] = None,
) -> None:
    """Write traces as other tools have them; what is read back is the same."""
    from apportion.cli.specs import parse_map
    from apportion.exports import Traces
    from apportion.exports import export as write
    from apportion.imports import read_traces
    from apportion.records import read_kind

    rollouts, complaints = read_traces(source, map=parse_map(list(map or [])))
    folder = source if source.is_dir() else source.parent
    known = {rollout.id for rollout in rollouts}
    reviews, unread = read_kind(folder, "reviews")
    probes, unread_too = read_kind(folder, "probes")
    complain([*complaints, *unread, *unread_too])
    traces = Traces(
        rollouts,
        [review for review in reviews if review.rollout_id in known],
        [probe for probe in probes if probe.rollout_id in known],
    )
    written = write(traces, format, out)
    note(f"{plural(len(rollouts), 'trace')} as {format}, {plural(len(written), 'part')}")
    say(str(out))
