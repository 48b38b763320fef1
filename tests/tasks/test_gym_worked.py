"""The worked steps arrive at the answer that reasoning-gym gives, and reviewers can read them."""

import pytest

pytest.importorskip("reasoning_gym")

from apportion.review import load_reviewer
from apportion.review.check import measure_on_task
from apportion.tasks import load_task, validate_task
from apportion.tasks.gym_worked import worked_solution


@pytest.mark.parametrize("name", ["chain_sum", "leg_counting"])
def test_steps_end_in_the_answer(name) -> None:
    task = load_task({"kind": "gym", "name": name})
    problems = task.problems("test", 60, 0)
    for problem in problems:
        assert problem.answers == (str(problem.meta["steps"][-1]["result"]),)
        for step in problem.meta["steps"]:
            assert eval(step["expression"]) == step["result"]
        assert task.score(problem, task.gold_completion(problem)) == 1.0
    assert validate_task(task, 20) == []


@pytest.mark.parametrize("name", ["chain_sum", "leg_counting"])
def test_the_gold_reviewer_is_exact_on_planted_errors(name) -> None:
    report = measure_on_task(load_reviewer("gold"), load_task({"kind": "gym", "name": name}))
    assert report.youden.value > 0.97


def test_by_hand() -> None:
    steps = worked_solution("chain_sum", {"expression": "4 - 1 - 7"})
    assert [step["text"] for step in steps] == ["so 4 - 1 = 3", "so 3 - 7 = -4"]
    steps = worked_solution("leg_counting", {"animals": {"dog": 3, "spider": 2}})
    assert [step["text"] for step in steps] == [
        "dog legs 3 * 4 = 12", "spider legs 2 * 8 = 16", "together 12 + 16 = 28"
    ]  # fmt: skip
    assert steps[2]["uses"] == [0, 1]
    assert worked_solution("gcd", {}) is None
