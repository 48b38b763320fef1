"""The directory layout of thought-anchors (Bogdan et al. 2025, arXiv 2506.19143).

``problem_N/`` holds ``problem.json``, ``base_solution.json``, ``chunks.json``, often
``chunks_labeled.json``, and ``chunk_I/solutions.json`` with the resamples of each chunk.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apportion.errors import UserError
from apportion.imports.rows import rollout_of
from apportion.trace import Rollout

KEY = "thought_anchors"
_NUMBER = re.compile(r"problem_(\d+)")


def problem_folders(path: Path) -> list[Path]:
    """The folders of problems in ``path``, or ``path`` itself where it is one, in their order."""
    if (path / "base_solution.json").is_file():
        return [path]
    found = [p.parent for p in path.glob("problem_*/base_solution.json")]
    return sorted(found, key=lambda p: (_number(p), p.name))


def _number(path: Path) -> int:
    match = _NUMBER.fullmatch(path.name)
    return int(match[1]) if match else 1 << 62


def read_thought_anchors(path: Path) -> tuple[list[Rollout], list[str]]:
    """The base solution of each problem, and a complaint for each folder that gives none.

    ``meta["thought_anchors"]`` lists its chunks: ``span`` in characters of the text (where the
    chunk stands, each after the one before, so that a repeated sentence is not mixed up), and
    what ``chunks_labeled.json`` says of it.
    """
    rollouts: list[Rollout] = []
    complaints: list[str] = []
    for folder in problem_folders(path):
        try:
            rollout, lost = _rollout(folder)
        except (ValueError, UserError) as error:
            complaints.append(f"{folder}: {error}")
            continue
        rollouts.append(rollout)
        if lost:
            complaints.append(f"{folder}: {lost} of its chunks are not in the solution's text")
    return rollouts, complaints


def _rollout(folder: Path) -> tuple[Rollout, int]:
    problem = _read(folder / "problem.json", dict)
    base = _read(folder / "base_solution.json", dict)
    chunks = _read(folder / "chunks.json", dict).get("chunks", [])
    labelled_file = folder / "chunks_labeled.json"
    labelled = _read(labelled_file, list) if labelled_file.is_file() else []
    text = base.get("solution")
    if not isinstance(text, str) or not isinstance(problem.get("problem"), str):
        raise ValueError("base_solution.json has no solution, or problem.json no problem")
    placed, lost = _placed(text, chunks, labelled)
    correct = base.get("is_correct")
    own = base.get("apportion")  # what our own export says besides
    ours = own if isinstance(own, dict) else {}
    row = {
        "prompt": problem["problem"],
        "completion": text,
        "answer": problem.get("gt_answer") or None,
        "outcome": correct if isinstance(correct, bool | int | float) else None,
        "id": ours.get("id") or folder.name,
        **{k: ours[k] for k in ("policy", "update", "group") if ours.get(k) is not None},
        KEY: placed,
        "problem": {k: problem[k] for k in ("level", "type", "nickname") if k in problem},
    }
    return rollout_of(folder.name, row), lost


def _placed(text: str, chunks: Any, labelled: list[Any]) -> tuple[list[dict[str, Any]], int]:
    if not isinstance(chunks, list) or not all(isinstance(c, str) for c in chunks):
        raise ValueError("chunks.json has no list of texts")
    said = {c.get("chunk_idx"): c for c in labelled if isinstance(c, Mapping)}
    position, lost, placed = 0, 0, []
    for index, chunk in enumerate(chunks):
        start = text.find(chunk, position) if chunk else -1
        if start < 0:
            lost += 1
            continue
        position = start + len(chunk)
        facts = {k: _finite(v) for k, v in said.get(index, {}).items() if k != "chunk"}
        placed.append({**facts, "chunk_idx": index, "span": [start, position]})
    return placed, lost


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _read(file: Path, kind: type) -> Any:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{file.name} is missing") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{file.name} cannot be read: {error}") from None
    if not isinstance(value, kind):
        raise ValueError(f"{file.name}: a JSON {kind.__name__} is needed")
    return value
