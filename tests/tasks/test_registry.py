"""Tasks by name, wrong specs, and what importing the task layer costs."""

import subprocess
import sys

import pytest

from apportion.errors import UserError
from apportion.tasks import TASKS, load_task, validate_task
from apportion.tasks.base import Task
from apportion.tasks.registry import _MAKERS
from apportion.tasks.words import Words


def test_every_listed_task_can_be_made():
    assert set(TASKS) == set(_MAKERS)
    # textworld is an extra and needs games: see test_textworld.py.
    needed = {"gym": {"name": "chain_sum"}, "blend": {"of": ["sums", "words"]}}
    for name in set(TASKS) - {"textworld"}:
        assert isinstance(load_task({"kind": name} | needed.get(name, {})), Task)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("word", "did you mean 'words'"),
        ({"operations": [1, 2]}, "task without 'kind'"),
        ({"kind": "words", "operation": [1, 2]}, "did you mean 'operations'"),
        ({"kind": "words", "operations": [3, 2]}, "[3, 2] is not [low, high] with 1 <="),
        ({"kind": "words", "operations": [0, 9]}, "high <= 8"),
        ({"kind": "words", "operations": "many"}, "not 'many'"),
        ({"kind": "words", "families": ["mony"]}, "did you mean 'money'"),
        ({"kind": "words", "families": []}, "at least one"),
        ({"kind": "words", "largest": 5000}, "less than or equal to 999"),
        (["words"], "a task is a name or a mapping"),
    ],
)
def test_wrong_specs_are_one_clear_line(spec, message):
    with pytest.raises(UserError) as caught:
        load_task(spec)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_unknown_split():
    with pytest.raises(UserError, match="did you mean 'validation'"):
        load_task("words").problems("validaton", 1, 0)  # type: ignore[arg-type]


def test_options_that_leave_no_problem_say_what_to_widen():
    bounds = {"largest": 50, "terms": [150, 200], "factors": [12, 12]}
    task = load_task({"kind": "words", "operations": [8, 8]} | bounds)
    with pytest.raises(UserError, match="wider factors, terms or largest"):
        task.problems("train", 1, 0)


def test_validate_task_finds_a_score_that_always_says_right():
    class Generous(Words):
        def score(self, problem, text):
            return 1.0

    found = validate_task(Generous(), 3)
    assert any("a wrong answer scores 1.0" in complaint for complaint in found)
    assert any("planted wrong answer" in complaint for complaint in found)


def test_validate_task_finds_unstable_problems():
    class Unstable(Words):
        calls = 0

        def problems(self, split, n, seed):
            self.calls += 1
            return super().problems(split, n, self.calls)

    assert any("different problems" in complaint for complaint in validate_task(Unstable(), 3))


def test_importing_tasks_brings_in_nothing_heavy():
    code = (
        "import sys, apportion.tasks\n"
        "heavy = {'torch', 'datasets', 'sympy', 'math_verify', 'reasoning_gym', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
