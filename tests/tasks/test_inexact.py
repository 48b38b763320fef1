"""The task of good answers only: references, splits, bad rows, no grader."""

import json

import pytest

from apportion.errors import UserError
from apportion.tasks import load_task, validate_task
from apportion.tasks.inexact import SHIPPED


def written(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def of_file(path, **options):
    return load_task({"kind": "inexact", "path": str(path)} | options)


def test_the_shipped_set_is_sound():
    task = load_task("inexact")
    rows = [json.loads(line) for line in SHIPPED.read_text().splitlines()]
    assert validate_task(task) == []
    assert len(rows) >= 190 and len({row["prompt"] for row in rows}) == len(rows)
    references = [answer for row in rows for answer in row["answers"]]
    assert len(set(references)) == len(references) == 2 * len(rows)
    counts = {s: len(task.problems(s, 10_000, 0)) for s in ("validation", "test")}
    assert min(counts.values()) >= 30  # enough to measure with
    prompts = [
        {p.prompt for p in task.problems(s, 120, 0)} for s in ("train", "validation", "test")
    ]
    assert not prompts[0] & prompts[1] and not prompts[0] & prompts[2]


def test_nothing_is_graded():
    task = load_task("inexact")
    problem = task.problems("train", 1, 0)[0]
    gold = task.gold_completion(problem)
    assert gold == f"#### {problem.answers[0]}" and task.reasoning_end(gold) == 0
    assert task.score(problem, gold) is None and task.score(problem, "") is None


def test_references_are_gathered_from_lists_and_from_rows_of_the_same_prompt(tmp_path):
    path = written(
        tmp_path / "train.jsonl",
        {"q": "a", "good": ["one", " two  words "]},
        {"q": "a", "good": "three"},
        {"q": "a", "good": "one"},
    )
    task = of_file(path, map={"q": "prompt", "good": "answer"}, instruction="Go on.")
    (row,) = [row for split in ("train", "validation", "test") for row in task.rows[split]]
    assert row["answer"] == ("one", "two words", "three")
    split = next(s for s in ("train", "validation", "test") if task.rows[s])
    assert task.problems(split, 1, 0)[0].prompt == "a\nGo on.\n"


def test_each_epoch_of_training_puts_the_next_reference_first(tmp_path):
    written(tmp_path / "train.jsonl", {"prompt": "a", "answers": ["one", "two"]})
    written(tmp_path / "validation.jsonl", {"prompt": "b", "answers": ["x", "y"]})
    task = of_file(tmp_path)
    assert [p.answers[0] for p in task.problems("train", 3, 0)] == ["one", "two", "one"]
    assert [p.answers for p in task.problems("validation", 3, 0)] == [("x", "y")]
    with pytest.raises(UserError, match="no rows for split 'test', only for train, validation"):
        task.problems("test", 1, 0)


def test_csv_rows_hold_one_reference_each(tmp_path):
    (tmp_path / "train.csv").write_text("question,answer\na,one\na,two\n")
    (tmp_path / "test.csv").write_text("question,answer\nb,three\n")
    assert of_file(tmp_path).problems("test", 5, 0)[0].answers == ("three",)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "a", "answers": ["x", "  "]}, "row 1: a reference answer is empty"),
        ({"prompt": "a", "answers": [None]}, "row 1: a reference answer is empty"),
        ({"prompt": "a", "answers": []}, "row 1 has no reference answer"),
        ({"prompt": "a", "answers": [{"text": "x"}]}, "is text, not dict"),
        ({"prompt": "a"}, "row 1 has no 'answer'"),
    ],
)
def test_a_bad_row_is_named(tmp_path, row, said):
    task = of_file(written(tmp_path / "x.jsonl", row))
    with pytest.raises(UserError, match=said):
        task.problems("train", 1, 0)


def test_a_prompt_in_two_splits_is_a_complaint(tmp_path):
    for name in ("train", "validation", "test"):
        written(tmp_path / f"{name}.jsonl", {"prompt": "a", "answers": ["x"]})
    assert [c for c in of_file(tmp_path).validate(5) if "is in train and in test" in c]
