"""reasoning-gym by name: splits, its verifiers' floor, verifiers that hang or lie."""

import json

import pytest

from apportion.errors import UserError
from apportion.tasks import load_task, validate_task
from apportion.trace import Problem

pytest.importorskip("reasoning_gym")


def test_gsm_symbolic_validates_and_asks_for_the_format():
    task = load_task({"kind": "gsm_symbolic", "difficulty": 1.0})
    assert validate_task(task, 100) == []
    problem = task.problems("train", 1, 0)[0]
    assert "#### ANSWER" in problem.prompt and problem.prompt.endswith("\n")
    lines = task.gold_completion(problem).split("\n")
    assert lines[-1] == f"#### {problem.answers[0]}" and len(lines) > 1


def test_first_problems_do_not_depend_on_n_and_splits_differ():
    task = load_task("gsm_symbolic")
    assert task.problems("train", 20, 0)[:5] == load_task("gsm_symbolic").problems("train", 5, 0)
    prompts = {s: {p.prompt for p in task.problems(s, 100, 0)} for s in ("train", "test")}
    assert not prompts["train"] & prompts["test"]


def test_a_wrong_number_scores_zero_though_its_verifier_gives_a_little():
    import reasoning_gym

    dataset = reasoning_gym.create_dataset("gsm_symbolic", size=1, seed=0)
    assert dataset.score_answer("123456", dataset[0]) > 0
    task = load_task("gsm_symbolic")
    problem = task.problems("train", 1, 0)[0]
    assert task.score(problem, "#### 123456") == 0.0


@pytest.mark.parametrize(
    ("gold", "text", "expected"),
    [
        ("-5", "#### 5", 0.0),
        ("-5", "#### -5", 1.0),
        ("1234", "#### 1,234", 1.0),
        ("", "#### 1", None),
    ],
)
def test_numbers_are_read_whole(gold, text, expected):
    """The data set's own verifier reads 5 for -5 and 1 for 1,234."""
    task = load_task("gsm_symbolic")
    problem = Problem(id="a", prompt="?\n", answers=(gold,) if gold else ())
    assert task.score(problem, text) == expected


def test_the_threshold_decides_about_part_of_the_points():
    options = {"kind": "gym", "name": "countdown", "size": 20}
    problem = load_task(options).problems("test", 1, 0)[0]
    assert load_task(options).score(problem, "#### 1 + 1") == 0.0
    assert load_task(options | {"threshold": 0.01}).score(problem, "#### 1 + 1") == 1.0
    assert load_task(options).score(problem, f"#### {problem.answers[0]}") == 1.0


def test_an_answer_equal_to_gold_in_another_form_is_left_to_the_verifier():
    task = load_task({"kind": "gym", "name": "countdown", "size": 20})
    problem = task.problems("test", 1, 0)[0]
    assert task.score(problem, f"#### ({problem.answers[0]})") == 1.0


def test_a_verifier_that_hangs_on_an_answer_is_cut_off():
    task = load_task({"kind": "gym", "name": "countdown", "size": 5, "time_limit": 1.0})
    problem = task.problems("test", 1, 0)[0]
    assert task.score(problem, "#### 1") == 0.0  # the worker runs
    assert task.score(problem, "#### 9**9**9**9**9") == 0.0
    assert task.score(problem, f"#### ({problem.answers[0]})") in (0.0, 1.0)


def test_an_answer_that_breaks_its_verifier_is_wrong():
    task = load_task({"kind": "gym", "name": "prime_factorization", "size": 5})
    assert task.score(task.problems("test", 1, 0)[0], "#### zzz") == 0.0


def test_no_reference_answer_leaves_the_verifier():
    task = load_task({"kind": "gym", "name": "rush_hour", "size": 5})
    problem = task.problems("test", 1, 0)[0]
    assert problem.answers == () and task.gold_completion(problem) is None
    assert task.score(problem, "#### zzz") == 0.0


def test_validation_finds_a_verifier_that_accepts_nonsense():
    task = load_task({"kind": "gym", "name": "game_of_life_halting", "size": 5})
    assert any("'#### zzz' scores above 0" in complaint for complaint in task.validate(5))


@pytest.mark.parametrize("name", ["chain_sum", "countdown", "prime_factorization", "leg_counting"])
def test_other_data_sets_validate(name):
    task = load_task({"kind": "gym", "name": name, "size": 20})
    assert validate_task(task, 10) == []
    problem = task.problems("test", 1, 0)[0]
    reread = Problem.model_validate(json.loads(problem.model_dump_json()))
    assert task.score(reread, task.gold_completion(problem)) == 1.0


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"kind": "gym", "name": "countdwn"}, "did you mean 'countdown'"),
        ({"kind": "gym"}, "option 'name' is required"),
        ({"kind": "gym", "name": "countdown", "options": {"min_numbrs": 3}}, "'min_numbers'"),
        ({"kind": "gym", "name": "countdown", "options": {"min_numbers": 30}}, "refuses options"),
        ({"kind": "gym", "name": "countdown", "options": {"seed": 30}}, "'seed' is not set here"),
        ({"kind": "gsm_symbolic", "dificulty": 1}, "did you mean 'difficulty'"),
        ({"kind": "gsm_symbolic", "difficulty": -1}, "greater than 0, not -1"),
    ],
)
def test_wrong_names_and_options(spec, message):
    with pytest.raises(UserError) as caught:
        load_task(spec)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_more_problems_than_size():
    task = load_task({"kind": "gym", "name": "chain_sum", "size": 3})
    with pytest.raises(UserError, match="raise size"):
        task.problems("train", 4, 0)
