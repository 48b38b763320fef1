"""Completions on their way to credit, at the edges."""

import numpy as np
import pytest

pytest.importorskip("torch")

from apportion import Problem
from apportion.credit import load_method
from apportion.train.grpo.batch import ReviewDesk
from apportion.train.rows import problem_of_row, row_of_problem

END = 0


def decode(ids):
    return "".join(chr(i) for i in ids if i != END)


def credited(texts, outcomes, method="dca", reviewers=("arithmetic",), group_size=2, desk=None):
    given = desk
    desk = desk or ReviewDesk(
        reviewers,
        method=load_method(method),
        voting={},
        segmenter="line",
        reasoning_end=None,
        timeout=5.0,
        seed=0,
    )
    token_ids = [[*map(ord, text), END] for text in texts]
    batch = desk.open(
        problems=[Problem(id="p", prompt="Tom has 3 and 4.", answers=("12",))] * len(texts),
        token_ids=token_ids,
        outcomes=outcomes,
        decode=decode,
        update=1,
        first_index=0,
        group_size=group_size,
    )
    width = max(map(len, token_ids))
    mask_BT = np.array([[t < len(ids) for t in range(width)] for ids in token_ids])
    local = desk.samples(batch, mask_BT, [0.5, -0.5] * (len(texts) // 2))
    result = desk.credit(batch, local, local, group_size, 0.0)
    if given is None:
        desk.close()
        desk.close()
    return result


@pytest.mark.parametrize("method", ["dca", "capo", "papo", "shuffled", "random", "outcome"])
def test_empty_and_stepless_completions_get_the_base_or_nothing(method):
    texts = ["", "#### 12", "   \n", "no equation here"]
    result = credited(texts, [1.0, 0.0, 1.0, 0.0], method)
    assert [len(c.advantages_T) for c in result.credits] == [len(t) + 1 for t in texts]
    assert all(np.isfinite(c.advantages_T).all() for c in result.credits)
    if method in ("dca", "outcome"):
        assert [c.advantages_T[0] for c in result.credits] == [0.5, -0.5, 0.5, -0.5]
    assert len(result.records()) == 4


def test_blame_lands_on_the_wrong_step_of_a_failed_chain():
    right, wrong = "3 * 4 = 12\n#### 12", "3 * 4 = 12\n3 + 4 = 8\n#### 8"
    result = credited([right, wrong], [1.0, 0.0])
    advantage_T = result.credits[1].advantages_T
    first, second = wrong.index("3 +"), wrong.index("####")
    assert advantage_T[:first].sum() > advantage_T[first:second].sum()
    assert advantage_T[first] < -0.5 <= advantage_T[0]
    assert advantage_T.sum() == pytest.approx(-0.5 * len(advantage_T))
    assert result.metrics["credit/added"] == pytest.approx(0.0, abs=1e-12)
    assert result.metrics["review/wrong_steps"] > 0


def test_undecided_outcome_is_kept_as_unknown():
    result = credited(["3 * 4 = 12", "x"], [float("nan"), 0.0])
    assert [r.outcome for r in result.rollouts] == [None, 0.0]


@pytest.mark.parametrize(
    ("row", "answers"),
    [
        ({"prompt": "q", "answer": "4"}, ("4",)),
        ({"prompt": "q", "solution": 4}, ("4",)),
        ({"prompt": "q", "ground_truth": ["4", "four"]}, ("4", "four")),
        ({"prompt": [{"role": "user", "content": "q"}]}, ()),
    ],
)
def test_rows_of_trl_scripts_become_problems(row, answers):
    problem = problem_of_row(row)
    assert (problem.prompt, problem.answers) == ("q", answers)


def test_a_problem_rides_along_whole():
    problem = Problem(id="p", prompt="q", answers=("1",), meta={"steps": [{"result": 1}]})
    assert problem_of_row(row_of_problem(problem, "q")) == problem
