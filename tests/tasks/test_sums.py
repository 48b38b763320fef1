"""Sums: the written steps give the answer, splits share no prompt, and both reviewers can read."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.errors import UserError
from apportion.review import load_reviewer
from apportion.review.check import measure_on_task
from apportion.tasks import load_task, validate_task


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.sampled_from(["train", "validation", "test"]))
def test_the_last_step_gives_what_the_prompt_evaluates_to(seed, operations, split) -> None:
    task = load_task({"kind": "sums", "operations": [operations, operations]})
    [problem] = task.problems(split, 1, seed)
    value = sum(int(number) for number in re.findall(r"[+-]?\d+", problem.prompt.replace(" ", "")))
    assert problem.answers == (str(value),)
    assert len(problem.meta["steps"]) == operations
    assert all(1 <= step["result"] <= 99 for step in problem.meta["steps"])
    assert task.score(problem, task.gold_completion(problem)) == 1.0
    assert task.score(problem, f"#### {value + 1}") == 0.0


def test_validates_itself_in_both_styles() -> None:
    for styles in (["plain"], ["checked"], ["plain", "checked"]):
        assert validate_task(load_task({"kind": "sums", "styles": styles}), 40) == []


def test_no_prompt_is_in_two_splits() -> None:
    task = load_task({"kind": "sums", "operations": [1, 2], "terms": [1, 9]})
    prompts = {s: {p.prompt for p in task.problems(s, 300, 0)} for s in ("train", "test")}
    assert prompts["train"] and not prompts["train"] & prompts["test"]


def test_checked_lines_are_true_and_needed_by_nothing() -> None:
    task = load_task({"kind": "sums", "styles": ["checked"], "operations": [2, 2]})
    [problem] = task.problems("train", 1, 0)
    lines = task.gold_completion(problem).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["so", "check", "so", "check", "####"]
    for line in lines[:-1]:
        left, right = line.split(" ", 1)[1].split(" = ")
        assert eval(left) == int(right)


def test_both_exact_reviewers_can_read_it() -> None:
    task = load_task("sums")
    gold = measure_on_task(load_reviewer("gold"), task)
    arithmetic = measure_on_task(load_reviewer("arithmetic"), task)
    assert gold.youden.value == 1.0
    assert arithmetic.fpr.value == 0.0 and arithmetic.tpr.value > 0.5


@pytest.mark.parametrize(
    "options", [{"operations": [0, 2]}, {"terms": [5, 3]}, {"styles": []}, {"styles": ["loud"]}]
)
def test_bad_options_are_one_line(options) -> None:
    with pytest.raises(UserError, match="task sums"):
        load_task({"kind": "sums", **options})
