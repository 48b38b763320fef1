"""Parquet tables, among them the completion logs that TRL writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from apportion.errors import UserError
from apportion.imports.rows import TARGETS, rename, rollout_of
from apportion.records import reason
from apportion.trace import Rollout


def read_parquet(path: Path, renames: Mapping[str, str]) -> tuple[list[Rollout], list[str]]:
    """Rollouts of a table and a complaint for each row that gives none.

    TRL's logs (columns ``step`` and ``advantage``) hold one column per reward function: a single
    one is the outcome, of several ``renames`` has to choose.
    Raises UserError without pyarrow, or when the file is no Parquet.
    """
    rows = _rows(path)
    complaints: list[str] = []
    names = dict(renames)
    if rows and {"step", "advantage"} <= rows[0].keys():
        complaints = _name_trl_columns(path, rows, names)
    rollouts: list[Rollout] = []
    for number, row in enumerate(rows, start=1):
        try:
            rollouts.append(rollout_of(f"{path.stem}-{number}", rename(row, names)))
        except ValueError as error:
            complaints.append(f"{path}: row {number}: {reason(error)}")
    return rollouts, complaints


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise UserError(
            f"{path}: reading Parquet needs pip install 'apportion[parquet]'"
        ) from error
    try:
        with ParquetFile(path) as file:
            return file.read().to_pylist()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file") from error


def _name_trl_columns(
    path: Path, rows: Sequence[Mapping[str, Any]], names: dict[str, str]
) -> list[str]:
    """Add TRL's own column names to ``names``; returns what could not be decided."""
    if "step" not in names and "update" not in names.values():
        names["step"] = "update"
    if "outcome" in names.values() or "outcome" in rows[0]:
        return []
    known = {"advantage", *TARGETS, *names}
    rewards = [c for c in rows[0] if c not in known and all(_is_number(r[c]) for r in rows)]
    if len(rewards) == 1:
        names[rewards[0]] = "outcome"
        return []
    if not rewards:
        return [f"{path}: no reward column, so no outcome is known"]
    return [
        f"{path}: several reward columns ({', '.join(rewards)}), so no outcome is known: "
        "name one by --map COLUMN=outcome"
    ]


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float)
