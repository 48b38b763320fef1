"""apportion edit on files and run directories, and an arm on what it wrote."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from apportion.records import read_kind

TRACES = [
    ("3 pens for 4 dollars each?", "9 + 2 = 11\n3 * 4 = 12\n#### 12"),
    ("3 pens for 4 dollars each?", "3 * 4 = 13\n#### 13"),
    ("3 pens for 4 dollars each?", "3 * 4 = 12\n#### 12"),
]


@pytest.fixture
def reviewed(run: Callable, tmp_path: Path) -> str:
    """Three traces and what a script says of their steps."""
    file = tmp_path / "traces.jsonl"
    rows = [{"prompt": p, "completion": c, "answer": "12"} for p, c in TRACES]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run("review", file, "-r", "arithmetic", "--out", "reviewed").exit_code == 0
    return "reviewed"


def test_edits_are_written_with_what_changed(run: Callable, reviewed: str) -> None:
    result = run("edit", reviewed, "--operation", "delete", "--operation", "correct", "--out", "o")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "3 chains, 2 changed"
    assert lines[1] == "not answered again: nothing is kept yet, name a policy by --policy"
    assert lines[-1] == "o/report.html" and Path(lines[-1]).is_file()
    edits, complaints = read_kind("o", "edits")
    assert not complaints and [e.rollout_id for e in edits] == [f"traces-{i}" for i in (1, 2, 3)]
    assert edits[0].text == "3 * 4 = 12\n#### 12" and edits[0].operations == ("delete",)
    assert edits[1].open and edits[1].text.startswith("3 * 4 = 13\nWait, that is wrong.\n")
    assert edits[2].operations == () and edits[2].asked == ("delete", "correct")
    assert len(read_kind("o", "rollouts")[0]) == len(read_kind("o", "reviews")[0]) == 3


def test_a_torn_record_is_made_again_and_nothing_else(run: Callable, reviewed: str) -> None:
    command = ("edit", reviewed, "--operation", "delete", "--out", "o")
    assert run(*command).exit_code == 0
    file = Path("o/edits.jsonl")
    whole = file.read_bytes()
    file.write_bytes(whole[:-30])  # killed while it wrote the last one
    assert run(*command).exit_code == 2
    result = run(*command, "--resume")
    assert result.exit_code == 0, result.stderr
    assert "dropped" in result.stderr
    assert file.read_bytes() == whole
    assert run(*command, "--resume").exit_code == 0 and file.read_bytes() == whole
    other = run("edit", reviewed, "--operation", "cut", "--out", "o", "--resume")
    assert other.exit_code == 2 and "another operations" in other.stderr


def test_a_policy_answers_again_and_the_kept_share_is_printed(run: Callable, reviewed: str) -> None:
    result = run("edit", reviewed, "--operation", "delete", "--operation", "replace", "-p", "tiny",
                 "--task", "words", "--max-tokens", 24, "--out", "o")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    edits, _ = read_kind("o", "edits")
    kept = sum(edit.usable for edit in edits)
    assert lines[1].startswith(f"kept: {kept} of 2 ({kept / 2:.1%}, 95 % interval ")
    assert any(line.startswith("  delete: ") and " of 1 (" in line for line in lines)
    assert all(edit.answered == 1 for edit in edits if edit.changed and not edit.refused)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--operation", "delet"], "unknown operation 'delet' (did you mean 'delete'?)"),
        (["--operation", "revise", "--operation", "cut"], "revise is a method of its own"),
        (["--operation", "revise"], "--operation revise asks a policy: name it by --policy"),
        (["--operation", "revise", "-p", "tiny"], "needs somebody who objects: add --reviewer"),
        (["--operation", "delete", "--probe", "-p", "tiny"], "--probe says where cut cuts"),
        (["--operation", "delete", "-p", "tiny"], "name no task that could score"),
        (["--operation", "delete", "--task", "word"], "did you mean 'words'?"),
        (["--operation", "cut", "-p", "scripted", "--task", "words"], "cannot go on with a chain"),
        (["--operation", "cut", "--segment", "lines"], "unknown segmenter 'lines'"),
    ],
)
def test_what_cannot_be_done_is_refused_and_leaves_nothing(
    run: Callable, reviewed: str, arguments: list[str], message: str
) -> None:
    result = run("edit", reviewed, *arguments, "--out", "o")
    assert result.exit_code == 2
    assert message in result.stderr and "Traceback" not in result.stderr
    assert not Path("o").exists()


def test_editing_needs_reviews(run: Callable, tmp_path: Path) -> None:
    file = tmp_path / "bare.jsonl"
    file.write_text(json.dumps({"prompt": "?", "completion": "1\n#### 1"}) + "\n")
    result = run("edit", file, "--operation", "cut", "--out", "o")
    assert result.exit_code == 2 and "editing needs reviews and there are none" in result.stderr


def test_the_task_is_found_through_the_stages(run: Callable, reviewed: str) -> None:
    from apportion.cli.editing import task_of

    assert task_of(Path(reviewed)) is None
    Path("s").mkdir()
    Path("s/config.yaml").write_text("task: {kind: words}\n")
    Path("r").mkdir()
    Path("r/config.yaml").write_text("sources: [s/rollouts.jsonl]\n")
    assert task_of(Path("r")) == {"kind": "words"}
    Path("s/config.yaml").write_text("sources: [r]\n")  # a circle ends
    assert task_of(Path("r")) is None


def test_operations_are_listed(run: Callable) -> None:
    result = run("ls", "operations")
    assert {line.split("\t")[0] for line in result.stdout.splitlines()} == {
        "cut", "delete", "reorder", "replace", "correct", "revise"}  # fmt: skip
