"""Rows from JSONL, CSV and the hub; planted errors at the calculator annotations."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from apportion.errors import UserError
from apportion.segment import segment
from apportion.tasks import load_task, validate_task

ROWS = [
    {
        "question": f"Ann has {n} pens and buys {n} more for each of 2 friends. How many?",
        "answer": f"She buys 2*{n}=<<2*{n}={2 * n}>>{2 * n} pens.\n"
        f"She has {n}+{2 * n}=<<{n}+{2 * n}={3 * n}>>{3 * n} pens.\n#### {3 * n}",
    }
    for n in range(2, 62)
]


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def rows_file(tmp_path):
    return write_jsonl(tmp_path / "rows.jsonl", ROWS)


def published() -> Path:
    """The published data, where this checkout has them beside it."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("APPORTION_DATA", beside)) / "gsm8k"
    if not folder.is_dir():
        pytest.skip(f"no GSM8K at {folder}: set APPORTION_DATA to the folder that holds gsm8k/")
    return folder


def test_published_gsm8k_validates_and_holds_validation_out_of_train():
    task = load_task({"kind": "gsm8k", "path": str(published())})
    assert validate_task(task, 300) == []
    assert {split: len(rows) for split, rows in task.rows.items()}["test"] == 1319
    questions = {s: {r["prompt"] for r in rows} for s, rows in task.rows.items()}
    assert 600 < len(questions["validation"]) < 900
    assert not questions["train"] & questions["validation"]
    assert len(task.problems("test", 5000, 0)) == 1319


def test_a_file_is_split_and_annotations_are_kept(rows_file):
    task = load_task({"kind": "gsm8k", "path": str(rows_file)})
    found = {s: task.problems(s, 1000, 0) for s in ("train", "validation", "test")}
    ids = {s: {p.meta["question"] for p in problems} for s, problems in found.items()}
    assert sum(len(q) for q in ids.values()) == len(ROWS) and all(ids.values())
    assert len(found["train"]) == 1000  # repeats
    gold = task.gold_completion(found["test"][0])
    assert "<<" in gold and gold.endswith(f"#### {found['test'][0].answers[0]}")
    assert validate_task(task, 10) == []


def test_first_problems_do_not_depend_on_n(rows_file):
    task = load_task({"kind": "gsm8k", "path": str(rows_file)})
    assert task.problems("train", 200, 4)[:7] == task.problems("train", 7, 4)
    assert task.problems("train", 7, 4) != task.problems("train", 7, 5)


def test_csv_columns_are_mapped_and_others_passed_on(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text('query,gold,level\n"Two, and\ntwo?",4,easy\nThree?,3,hard\n' * 20)
    options = {"kind": "gsm8k", "path": str(path), "map": {"query": "prompt", "gold": "answer"}}
    problem = load_task(options).problems("train", 1, 0)[0]
    assert problem.meta["question"] in ("Two, and\ntwo?", "Three?")
    assert problem.answers in (("4",), ("3",)) and problem.meta["level"] in ("easy", "hard")


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.csv", "query,gold\na,1\n", {"map": {"qery": "prompt"}}, "did you mean 'query'"),
        ("a.csv", "query,gold\na,1\n", {"map": {"query": "prompt"}}, "map: {COLUMN: answer}"),
        ("a.csv", "query,gold\na\n", {}, "a.csv:2: has another number of fields"),
        ("a.jsonl", '{"question": "a", "answer": "1"}\n{"que', {}, "a.jsonl:2: not JSON"),
        ("a.jsonl", "[1]\n", {}, "a.jsonl:1: expected an object"),
        ("a.jsonl", "\n", {}, "holds no rows"),
        ("a.txt", "x", {}, "expected a .jsonl or .csv file"),
    ],
)
def test_bad_files_are_named_with_their_line(tmp_path, name, content, options, message):
    (tmp_path / name).write_text(content)
    task = load_task({"kind": "gsm8k", "path": str(tmp_path / name), **options})
    with pytest.raises(UserError) as caught:
        task.problems("train", 1, 0)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_missing_path_and_empty_folder(tmp_path):
    for path, message in [(tmp_path / "no", "no such file"), (tmp_path, "holds no train")]:
        with pytest.raises(UserError, match=message):
            load_task({"kind": "gsm8k", "path": str(path)}).problems("train", 1, 0)


def test_unreadable_gold_is_undecided(tmp_path):
    rows = [{"prompt": f"q{i}?", "answer": "first line\n#### "} for i in range(30)]
    task = load_task({"kind": "gsm8k", "path": str(write_jsonl(tmp_path / "a.jsonl", rows))})
    problem = task.problems("train", 1, 0)[0]
    assert problem.answers == () and task.score(problem, "#### 3") is None
    assert task.gold_completion(problem) is None and task.corruptions(problem, 0) == []


def test_last_number_only_where_the_task_says_so(rows_file):
    strict = load_task({"kind": "gsm8k", "path": str(rows_file)})
    lenient = load_task({"kind": "gsm8k", "path": str(rows_file), "last_number": True})
    problem = strict.problems("test", 1, 0)[0]
    text = f"so she has {problem.answers[0]} pens."
    assert strict.score(problem, text) == 0.0 and lenient.score(problem, text) == 1.0


def test_the_environment_names_the_data_folder(tmp_path, monkeypatch):
    (tmp_path / "gsm8k").mkdir()
    write_jsonl(tmp_path / "gsm8k" / "train.jsonl", ROWS)
    monkeypatch.setenv("APPORTION_DATA", str(tmp_path))
    task = load_task("gsm8k")
    assert task.problems("validation", 1, 0)
    with pytest.raises(UserError, match="no rows for split 'test', only for train, validation"):
        task.problems("test", 1, 0)


def test_an_offline_hub_says_what_to_do(tmp_path):
    """In a process of its own: the hub client reads its settings when it is imported."""
    pytest.importorskip("datasets")
    code = (
        "from apportion.tasks import load_task\n"
        "load_task({'kind': 'gsm8k', 'hub': 'openai/gsm8k'}).problems('test', 1, 0)\n"
    )
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | offline, capture_output=True, text=True
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("apportion.errors.UserError: data set openai/gsm8k: cannot load it")
    assert "give path" in last


def test_errors_at_annotations(rows_file):
    task = load_task({"kind": "gsm8k", "path": str(rows_file)})
    problem = task.problems("train", 1, 0)[0]
    by_kind = {planted.kind: planted for planted in task.corruptions(problem, 0)}
    assert list(by_kind) == ["clean", "wrong_arithmetic", "lucky_answer"]
    for kind, planted in by_kind.items():
        end = task.reasoning_end(planted.text)
        assert planted.steps == segment(planted.text, end, "line")
        harmful = [v for v in planted.truth if v.label == "harmful"]
        assert len(harmful) == (kind != "clean")
        assert task.score(problem, planted.text) == (kind != "wrong_arithmetic")
    wrong = by_kind["wrong_arithmetic"]
    start, end = wrong.truth[1].focus
    number = wrong.text[start:end]
    assert f"={number}>>{number} pens" in wrong.text and wrong.text.endswith(f"#### {number}")
    assert number != problem.answers[0]
