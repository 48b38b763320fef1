"""Which kind of file or directory it is, and its rollouts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from apportion.errors import UserError
from apportion.imports.inspect_logs import is_inspect, read_inspect
from apportion.imports.parquet import read_parquet
from apportion.imports.rows import check_map, rename, rollout_of, solution_models, solutions_of
from apportion.imports.thought_anchors import problem_folders, read_thought_anchors
from apportion.imports.verifiers import is_episode, is_result, row_of_result, rows_of_episode
from apportion.records import parse_lines
from apportion.trace import Rollout

_OWN_FIELDS = frozenset({"problem", "text", "reasoning_end"})


def read_traces(
    path: Path | str, *, map: Mapping[str, str] | None = None
) -> tuple[list[Rollout], list[str]]:
    """Rollouts of a file or directory, and a complaint for each record that gives none.

    Understood are: a run directory or its ``rollouts.jsonl``; JSONL with ``prompt`` and
    ``completion`` (text or chat messages) and optionally ``answer``, ``outcome``, ``id``,
    ``policy``, ``group``, ``update``; Parquet of such rows; TRL's completion logs, one or a
    directory of them; results and traces of verifiers; logs of Inspect (``.eval``, ``.json``);
    folders of thought-anchors; GSM8K's published model solutions. ``map`` renames columns
    (``{"question": "prompt"}``); columns without a meaning here are kept in ``meta``.

    Raises UserError when nothing there can be read as a trace.
    """
    path = Path(path)
    renames = check_map(map)
    rollouts, complaints = _read(path, renames)
    rollouts, repeated = _first_of_each_id(rollouts, path)
    if not rollouts:
        first = f"; the first: {complaints[0]}" if complaints else ""
        raise UserError(f"{path}: no trace in it, {len(complaints)} unreadable records{first}")
    return rollouts, complaints + repeated


def _read(path: Path, renames: dict[str, str]) -> tuple[list[Rollout], list[str]]:
    if path.is_dir():
        return _read_directory(path, renames)
    if path.suffix == ".parquet":
        return read_parquet(path, renames)
    if is_inspect(path):
        return read_inspect(path, renames)
    return _read_jsonl(path, renames)


def _read_directory(path: Path, renames: dict[str, str]) -> tuple[list[Rollout], list[str]]:
    if (path / "rollouts.jsonl").is_file():
        return _read_jsonl(path / "rollouts.jsonl", renames)
    if problem_folders(path):
        return read_thought_anchors(path)
    for name in ("results.jsonl", "traces.jsonl"):
        if (path / name).is_file():
            return _read_jsonl(path / name, renames)
    arms = sorted(file.parent.name for file in path.glob("*/rollouts.jsonl"))
    if arms:
        raise UserError(f"{path} holds several runs: name one, such as {path / arms[0]}")
    files = sorted(path.glob("*.parquet")) or sorted(path.glob("completions/*.parquet"))
    if not files:
        raise UserError(f"{path}: holds neither rollouts.jsonl nor *.parquet")
    rollouts: list[Rollout] = []
    complaints: list[str] = []
    for file in files:
        more, objections = read_parquet(file, renames)
        rollouts += more
        complaints += objections
    return rollouts, complaints


def _read_jsonl(path: Path, renames: dict[str, str]) -> tuple[list[Rollout], list[str]]:
    groups, complaints = parse_lines(path, partial(_of_line, path.stem, renames))
    return [rollout for group in groups for rollout in group], complaints


def _of_line(stem: str, renames: dict[str, str], number: int, row: dict[str, Any]) -> list[Rollout]:
    """The rollouts of one JSON object, of whichever form it has. Raises ValueError."""
    if not renames and row.keys() >= _OWN_FIELDS:
        return [Rollout.model_validate(row)]
    if not renames and is_episode(row):
        name = f"{stem}-{number}"
        return [rollout_of(f"{name}-{i}", one) for i, one in enumerate(rows_of_episode(row))]
    if not renames and is_result(row):
        return [rollout_of(f"{stem}-{number}", row_of_result(row))]
    models = [] if renames else solution_models(row)
    if models:
        return list(solutions_of(number, row, models))
    return [rollout_of(f"{stem}-{number}", rename(row, renames))]


def _first_of_each_id(rollouts: list[Rollout], path: Path) -> tuple[list[Rollout], list[str]]:
    """A repeated id would make two traces share their reviews."""
    kept: dict[str, Rollout] = {}
    complaints: list[str] = []
    for rollout in rollouts:
        if rollout.id in kept:
            complaints.append(f"{path}: id '{rollout.id}' occurs again; only its first is used")
        else:
            kept[rollout.id] = rollout
    return list(kept.values()), complaints
