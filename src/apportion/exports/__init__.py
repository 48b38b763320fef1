"""Traces in the formats of other tools; ``apportion.imports`` reads them back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from apportion.errors import UserError, nearest
from apportion.exports.thought_anchors import export_thought_anchors
from apportion.exports.trl import export_trl
from apportion.trace import Probe, Review, Rollout

FORMATS = {
    "thought-anchors": "a folder for each chain, with its chunks and their importance",
    "trl": "Parquet tables as TRL's trainers log completions",
}


class Traces(NamedTuple):
    """What there is to write."""

    rollouts: Sequence[Rollout]
    reviews: Sequence[Review] = ()
    probes: Sequence[Probe] = ()


def export(traces: Traces, format: str, out: Path) -> list[Path]:
    """Write traces into the directory ``out``, which is made; the files or folders written.

    Raises UserError for an unknown format, and where ``out`` holds something.
    """
    if format not in FORMATS:
        raise UserError(
            f"--format: unknown format '{format}'{nearest(format, list(FORMATS))}; there are "
            f"{', '.join(FORMATS)}"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already and not empty: choose another --out")
    if format == "trl":
        return export_trl(traces.rollouts, out)
    return export_thought_anchors(traces.rollouts, traces.reviews, traces.probes, out)
