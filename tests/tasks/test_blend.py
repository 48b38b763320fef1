"""Several tasks in one."""

from collections import Counter

import pytest

from apportion import UserError
from apportion.tasks import load_task
from apportion.tasks.registry import validate_task

OPTIONS = {"operations": [2, 2], "terms": [1, 4], "largest": 24, "hints": 1.0, "accuracy": 0.0}
SPEC = {
    "kind": "blend",
    "of": [{"kind": "routes", "route": route} | OPTIONS for route in ("chain", "hint")],
}


def test_each_problem_is_of_one_task_and_shown_its_way() -> None:
    task = load_task(SPEC)
    problems = task.problems("test", 200, 0)
    members = Counter(p.meta["member"] for p in problems)
    assert set(members) == {0, 1} and min(members.values()) > 70
    for problem in problems:
        gold = task.gold_completion(problem) or ""
        takes_hint = gold.rsplit(" ", 1)[1] == problem.meta["leak"]
        assert takes_hint == (problem.meta["member"] == 1)
        assert task.score(problem, gold) == float(not takes_hint)  # the leaks are wrong
    assert validate_task(task, 40) == []


def test_it_starts_the_same_whatever_the_number() -> None:
    task = load_task(SPEC)
    assert task.problems("train", 30, 1)[:10] == task.problems("train", 10, 1)


def test_one_task_is_no_blend() -> None:
    with pytest.raises(UserError, match="of"):
        load_task({"kind": "blend", "of": ["sums"]})
