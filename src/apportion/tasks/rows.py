"""Rows of a data set: JSONL or CSV files, folders of them, or the Hugging Face hub."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from apportion.errors import UserError, nearest
from apportion.tasks.base import SPLITS, Split
from apportion.tasks.stable import split_of

Row = dict[str, Any]
_READERS = (".jsonl", ".csv")
_EIGHTY_TEN_TEN: tuple[Split, ...] = (*["train"] * 8, "validation", "test")  # type: ignore[assignment]
_TENTH_ASIDE: tuple[Split, ...] = (*["train"] * 9, "validation")  # type: ignore[assignment]


def read_file(path: Path) -> list[Row]:
    """The rows of one ``.jsonl`` or ``.csv`` file.

    Raises:
        UserError: missing, of another type, or malformed; the line is named.
    """
    if path.suffix not in _READERS:
        raise UserError(f"{path}: expected a .jsonl or .csv file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text") from None
    rows = _read_csv(path, text) if path.suffix == ".csv" else _read_jsonl(path, text)
    if not rows:
        raise UserError(f"{path}: holds no rows")
    return rows


def _read_jsonl(path: Path, text: str) -> list[Row]:
    rows: list[Row] = []
    # Not splitlines: that also breaks at characters which JSON strings may hold.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}:{number}: not JSON: {error.msg}") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}:{number}: expected an object, found {type(row).__name__}")
        rows.append(row)
    return rows


def _read_csv(path: Path, text: str) -> list[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    try:
        for row in reader:
            if None in row or None in row.values():
                raise UserError(
                    f"{path}:{reader.line_num}: has another number of fields than the first line "
                    "has column names"
                )
            rows.append(dict(row))
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: not CSV: {error}") from None
    return rows


def read_path(path: Path) -> dict[str, list[Row]]:
    """Rows by split name: of the files train, validation, test in a folder, or under "" of a file.

    Raises:
        UserError: nothing there, or no such file in the folder.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if path.is_file():
        return {"": read_file(path)}
    found = {
        split: read_file(path / (split + suffix))
        for split in SPLITS
        for suffix in _READERS
        if (path / (split + suffix)).is_file()
    }
    if not found:
        raise UserError(f"{path}: holds no train, validation or test file (.jsonl or .csv)")
    return found


def read_hub(name: str, config: str | None) -> dict[str, list[Row]]:
    """Rows by split of a data set on the hub.

    Raises:
        UserError: ``datasets`` is missing, the hub cannot be reached, or has no such data set.
    """
    try:
        import datasets
        from datasets.exceptions import DatasetsError
    except ImportError:
        raise UserError(
            f"data set {name}: reading from the hub needs pip install 'apportion[train]'; "
            "or give path: a .jsonl or .csv file"
        ) from None
    try:
        loaded = datasets.load_dataset(name, config)
    except (OSError, ValueError, DatasetsError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"data set {name}: cannot load it from the hub ({reason}); check the name and the "
            "network, or download it elsewhere and give path: its folder or file"
        ) from None
    return {str(split): [dict(row) for row in rows] for split, rows in loaded.items()}


def rename_columns(rows: list[Row], columns: Mapping[str, str], where: str) -> list[Row]:
    """Rename {column of the file: our name}; what is not named passes through.

    Raises:
        UserError: a column that the rows lack, or no ``prompt`` or ``answer`` afterwards.
    """
    known = list(rows[0])
    for column in columns:
        if column not in known:
            raise UserError(
                f"{where}: no column '{column}'{nearest(column, known)}; it has {', '.join(known)}"
            )
    renamed = [{columns.get(key, key): value for key, value in row.items()} for row in rows]
    for needed in ("prompt", "answer"):
        for number, row in enumerate(renamed, start=1):
            if needed not in row:
                raise UserError(
                    f"{where}: row {number} has no '{needed}' among {', '.join(row)}; "
                    f"name its column with map: {{COLUMN: {needed}}}"
                )
    return renamed


def in_splits(
    rows: dict[str, list[Row]], shares: Sequence[Split] = _EIGHTY_TEN_TEN
) -> dict[str, list[Row]]:
    """Split a single file by a hash of its prompts, a name as often as it stands in ``shares``; set
    a tenth of train aside where there is no validation split."""
    if "" in rows:
        names, source = shares, rows[""]
    elif "validation" not in rows and "train" in rows:
        names, source = _TENTH_ASIDE, rows["train"]
    else:
        return rows
    split: dict[str, list[Row]] = {name: [] for name in dict.fromkeys(names)}
    for row in source:
        split[split_of(_normal(str(row["prompt"])), names)].append(row)
    return rows | split


def _normal(question: str) -> str:
    return re.sub(r"\W+", " ", question).strip().lower()
