"""Running the command line inside the test process, in a directory of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from apportion.cli import app

Run = Callable[..., Result]

TRACES = [
    {"prompt": "3 pens for 4 dollars each?", "completion": "3 * 4 = 12\n#### 12", "outcome": 1},
    {"prompt": "3 pens for 4 dollars each?", "completion": "3 * 4 = 13\n#### 13", "outcome": 0},
    {"prompt": "3 pens for 4 dollars each?", "completion": "3 + 4 = 8\n3 * 4 = 12\n#### 12",
     "outcome": 1},
]  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run("ls", "tasks")`` in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [str(a) for a in arguments])


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    """Three completions of one problem: right, wrong, and right after a wrong step."""
    file = tmp_path / "traces.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in TRACES))
    return file


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A small recipe with two arms and two seeds."""
    file = tmp_path / "small.yaml"
    file.write_text(
        "task: {kind: words, operations: [2, 3]}\n"
        "train: {updates: 5, prompts_per_update: 4, group_size: 4}\n"
        "eval: {every: 5, problems: 10, final_problems: 20}\n"
        "seeds: [0, 1]\n"
        "arms:\n"
        "  - {name: outcome, set: {credit.method: outcome}}\n"
        "  - {name: dca, set: {credit.method: dca}}\n"
    )
    return file
