"""Credit by a critic and by a token reward model, against numbers worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.credit import load_method, name_of
from apportion.credit.critic import gae
from apportion.credit.oreal import chance_right
from tests.credit.helpers import completion, group


def scored(outcome, signal, values, *, mask=None, name="r"):
    sample = completion(outcome, answer=len(values), reviewed=False, mask=mask, name=name)
    return replace(sample, signals={signal: np.array(values, float)})


def test_generalised_advantages_by_hand():
    values = np.array([0.5, 0.25, 0.75])
    # Surprises: 0.25 - 0.5, 0.75 - 0.25, 1 - 0.75.
    assert gae(1.0, values, gamma=1.0, lam=0.0).tolist() == [-0.25, 0.5, 0.25]
    assert gae(1.0, values, gamma=1.0, lam=1.0).tolist() == [0.5, 0.75, 0.25]
    # -0.25 + (0.5 + 0.25 / 2) / 2, 0.5 + 0.25 / 2, 0.25
    assert gae(1.0, values, gamma=1.0, lam=0.5).tolist() == [0.0625, 0.625, 0.25]
    # Surprises with gamma 1/2: 0.125 - 0.5, 0.375 - 0.25, 1 - 0.75; each next one counts a quarter.
    assert gae(1.0, values, gamma=0.5, lam=0.5).tolist() == [-0.328125, 0.1875, 0.25]
    assert gae(1.0, np.zeros(0), gamma=1.0, lam=1.0).tolist() == []


@given(
    st.lists(st.floats(-2, 2), min_size=1, max_size=12),
    st.floats(-1, 1),
    st.floats(0.1, 1),
    st.floats(0, 1),
)
def test_generalised_advantages_are_the_sum_of_the_definition(values, outcome, gamma, lam):
    after = [*values[1:], 0.0]
    rewards = [0.0] * (len(values) - 1) + [outcome]
    steps = range(len(values))
    surprise = [rewards[t] + gamma * after[t] - values[t] for t in steps]
    wanted = [sum((gamma * lam) ** (k - t) * surprise[k] for k in steps if k >= t) for t in steps]
    found = gae(outcome, np.array(values), gamma=gamma, lam=lam)
    assert found == pytest.approx(np.array(wanted), abs=1e-9)


def test_the_critic_steps_over_tokens_that_are_not_its_own():
    method = load_method({"method": "critic", "lam": 0.0})
    assert name_of(method) == "critic" and method.needs == ("critic_value",)
    assert not method.reads_reviews
    mine = scored(1.0, "critic_value", [0.5, 9.0, 0.75], mask=[1, 0, 1], name="a")
    undecided = scored(float("nan"), "critic_value", [0.5], name="b")
    found = method.assign(group(mine, undecided, base=[0.7, 0.0]))
    assert found[0].advantages_T.tolist() == [0.25, 0.0, 0.25]
    assert found[1].advantages_T.tolist() == [0.0]


def test_the_chance_is_of_the_running_mean():
    assert chance_right(np.array([0.0, 2.0, -2.0])) == pytest.approx(
        [0.5, 1 / (1 + np.exp(-1)), 0.5]
    )


def test_right_tokens_of_the_right_and_wrong_tokens_of_the_wrong_learn():
    three = float(np.log(3))  # sigmoid 3/4, so that 2 p - 1 is one half
    right = scored(1.0, "token_score", [three, three, -5 * three], name="a")
    wrong = scored(0.0, "token_score", [three, -3 * three], name="b")
    lost = scored(float("nan"), "token_score", [three], name="c")
    method = load_method("oreal")
    assert method.needs == ("token_score",) and not method.reads_reviews
    found = method.assign(group(right, wrong, lost, base=[0.8, -0.8, 0.0]))
    assert found[0].advantages_T == pytest.approx([0.4, 0.4, 0.0])
    # Mean of the wrong one's scores: +log 3, then -log 3; wrong completions count one half.
    assert found[1].values_T == pytest.approx([0.0, 0.25])
    assert found[1].advantages_T == pytest.approx([0.0, -0.2])
    assert found[2].advantages_T.tolist() == [0.0]


def test_a_masked_token_has_no_part_in_the_mean():
    three = float(np.log(3))
    sample = scored(1.0, "token_score", [three, -99.0, three], mask=[1, 0, 1])
    found = load_method("oreal").assign(group(sample, base=[1.0]))[0]
    assert found.advantages_T == pytest.approx([0.5, 0.0, 0.5])


def test_a_model_that_cannot_tell_pays_nothing():
    sample = scored(1.0, "token_score", [0.0, 0.0])
    assert load_method("oreal").assign(group(sample, base=[1.0]))[0].advantages_T.tolist() == [0, 0]
