import pytest

from apportion import UserError
from apportion.tasks import load_task, validate_task


def test_parity_by_hand():
    task = load_task({"kind": "parity", "bits": [6, 6]})
    problem = task.problems("train", 1, 0)[0].model_copy(
        update={"prompt": "1 0 1 1 0 0\n", "answers": ("1",)}
    )
    assert task.gold_completion(problem) == (
        "1 xor 0 = 1\n1 xor 1 = 0\n0 xor 1 = 1\n1 xor 0 = 1\n1 xor 0 = 1\n#### 1"
    )
    assert [task.score(problem, f"#### {bit}") for bit in (0, 1)] == [0.0, 1.0]


def test_copy_by_hand():
    task = load_task({"kind": "parity", "rule": "copy", "bits": [5, 5]})
    problem = task.problems("test", 1, 0)[0]
    assert task.gold_completion(problem) == f"#### {problem.prompt.strip()}"
    assert task.score(problem, f"#### {problem.prompt.strip()}") == 1.0
    assert task.score(problem, f"#### {problem.prompt.strip()[:-2]}") == 0.0


@pytest.mark.parametrize("rule", ["parity", "copy"])
@pytest.mark.parametrize("bits", [[5, 5], [8, 40]])
def test_it_validates_itself(rule, bits):
    assert validate_task(load_task({"kind": "parity", "rule": rule, "bits": bits}), 50) == []


def test_answers_are_the_parity_and_both_occur():
    problems = load_task("parity").problems("train", 200, 3)
    assert all(int(p.answers[0]) == p.prompt.count("1") % 2 for p in problems)
    assert {p.answers[0] for p in problems} == {"0", "1"}
    assert {len(p.prompt.split()) for p in problems} == set(range(8, 17))


def test_splits_share_no_row_even_where_rows_are_few():
    task = load_task({"kind": "parity", "bits": [5, 5]})
    rows = [{p.prompt for p in task.problems(s, 100, 0)} for s in ("train", "validation", "test")]
    assert all(rows) and not (rows[0] & rows[1] or rows[0] & rows[2] or rows[1] & rows[2])


@pytest.mark.parametrize("bits", [[4, 8], [9, 8], [5, 300]])
def test_bad_ranges(bits):
    with pytest.raises(UserError, match=r"option bits: .* is not \[low, high\] with 5 <="):
        load_task({"kind": "parity", "bits": bits})
