"""Who agrees most with a chain's credit. Hand-computed: one token a character."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.credit import load_method
from apportion.credit.agreement import closest, own_credit, reviewer_agreement, similarity
from apportion.trace import Problem, Review, Rollout, Step, StepVerdict
from tests.credit.helpers import completion

TEXT = "aaaabbbb##"  # two steps of four tokens, and an answer of two


def rollout(outcome, name="r"):
    return Rollout(
        id=name,
        problem=Problem(id="p", prompt="?"),
        text=TEXT,
        token_ids=tuple(range(len(TEXT))),
        token_spans=tuple((i, i + 1) for i in range(len(TEXT))),
        outcome=outcome,
        reasoning_end=8,
    )


def review(reviewer, *labels, error=None):
    steps = () if error else (Step(0, 4), Step(4, 8))
    verdicts = tuple(StepVerdict(label=label) for label in labels)
    return Review(rollout_id="r", reviewer=reviewer, steps=steps, verdicts=verdicts, error=error)


def agreement(outcome, *reviews, method="dca", **voting):
    return reviewer_agreement(
        [rollout(outcome)], [list(reviews)], load_method(method), voting=voting
    )[0]


def test_similarity_by_hand():
    # |1-2| + |1-0| = 2 over 1 + 1 + 2 + 0 = 4
    assert similarity(np.array([1.0, 1.0]), np.array([2.0, 0.0])) == pytest.approx(0.5)
    assert similarity(np.zeros(3), np.zeros(3)) == 1.0
    assert similarity(np.array([1.0]), np.array([-1.0])) == 0.0


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=20))
def test_similarity_is_a_share_and_symmetric(pairs):
    a, b = map(np.array, zip(*pairs, strict=True))
    assert -1e-9 <= similarity(a, b) <= 1 + 1e-9
    assert similarity(a, b) == pytest.approx(similarity(b, a))
    assert similarity(a, a) == pytest.approx(1.0)


def test_own_credit_of_right_and_wrong_chains():
    sample = completion(1.0, (1, "useful"), (1, "irrelevant"), (1, "harmful"), (1, None), answer=1)
    assert own_credit(sample, True).tolist() == [1, 0, -1, 1, 1]
    assert own_credit(sample, False).tolist() == [0, -0.5, -1, -1, -1]


def test_who_likes_all_of_a_right_chain_agrees_where_they_dispute():
    """Disputed tokens keep the advantage 1, and so does the answer: the final credit is all ones.
    ``warm`` pays 10 ones: similarity 1. ``cold`` pays 2 ones and 8 zeros: 1 - 8 / 12."""
    found = agreement(1.0, review("warm", "useful", "useful"),
                      review("cold", "irrelevant", "irrelevant"))  # fmt: skip
    assert found == pytest.approx({"warm": 1.0, "cold": 1 - 8 / 12})
    assert closest(found) == ("warm",)


def test_agreed_steps_count_as_they_were_credited():
    """Step a is agreed useful, step b disputed; all final credit is 1. ``half`` pays 6 ones."""
    found = agreement(
        1.0, review("all", "useful", "useful"), review("half", "useful", "irrelevant")
    )
    assert found == pytest.approx({"all": 1.0, "half": 1 - 4 / 16})


def test_blame_is_shared_on_wrong_chains():
    """Both blame step a: c = 2 there and 0 in step b, negative; each alone pays -1 in a, 0 in b,
    -1 on the answer. |−1+2|·4 = 4 over (4 + 2) + (8 + 2) = 16."""
    reviews = [review(name, "harmful", "useful") for name in ("one", "two")]
    assert agreement(0.0, *reviews) == pytest.approx({"one": 0.75, "two": 0.75})
    found = agreement(0.0, *reviews, review("off", "useful", "harmful"))
    assert closest(found) == ("one", "two") and found["off"] < 0.75


def test_failed_reviewers_are_left_out():
    assert agreement(1.0, review("up", "useful", "useful"), review("down", error="503")) == {
        "up": pytest.approx(1.0)
    }
    assert closest({}) == ()


def test_equal_outcomes_in_a_group_do_not_hide_who_agrees():
    rows = [rollout(1.0, "r1"), rollout(1.0, "r2")]
    reviews = [[review("warm", "useful", "useful"), review("cold", "harmful", "harmful")]] * 2
    found = reviewer_agreement(rows, reviews, load_method("dca"))
    assert [closest(one) for one in found] == [("warm",), ("warm",)]
