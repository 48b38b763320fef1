"""Hindsight credit and flow against numbers worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.credit import load_method
from apportion.credit.base import EPSILON
from apportion.credit.velocity import to_go
from tests.credit.helpers import completion, group


def chain(outcome, h, mean=(), *, answer=0, reached=None, name="r", mask=None):
    """A completion of len(h) tokens of reasoning and ``answer`` tokens after it."""
    sample = completion(outcome, answer=len(h) + answer, reviewed=False, name=name, mask=mask)
    rest = [0.0] * answer
    signals = {
        "hindsight": [*h, *rest],
        "hindsight_reached": [*(h if reached is None else reached), *rest],
        "hindsight_mean": [*(mean or [0.0] * len(h)), *rest],
        "hindsight_chain": [*[1.0] * len(h), *rest],
    }
    return replace(sample, signals={k: np.array(v) for k, v in signals.items()})


def test_credit_is_one_minus_the_inverse_ratio():
    # q/p is 2, 1, 1/2, 1/4: 1 - p/q is 1/2, 0, -1, -3, and the last is clipped to -1.
    h = np.log([2.0, 1.0, 0.5, 0.25])
    found = load_method("hindsight").assign(
        group(chain(1.0, h, answer=1, name="a"), chain(0.0, h, name="b"), base=[0.8, -0.4])
    )
    np.testing.assert_allclose(found[0].values_T, [0.5, 0, -1, -1, 0], atol=1e-12)
    np.testing.assert_allclose(found[0].advantages_T, [0.4, 0, -0.8, -0.8, 0], atol=1e-12)
    # The wrong chain is blamed where it moved towards its wrong answer.
    np.testing.assert_allclose(found[1].advantages_T, [-0.2, 0, 0.4, 0.4], atol=1e-12)


def test_a_wider_clip_lets_more_blame_through():
    h = np.log([0.5, 0.25, 1e-9])
    method = load_method({"method": "hindsight", "clip": 2.0})
    found = method.assign(group(chain(1.0, h), base=[1.0]))[0]
    np.testing.assert_allclose(found.values_T, [-1, -2, -2])


def test_reward_to_go_by_hand():
    one = chain(1.0, [0.5, 1.0, -0.5], answer=1, name="a")
    other = chain(0.0, [-1.0, 0.0], name="b")
    # G: 1.0, 0.5, -0.5 and -1.0, 0.0; mean 0, mean square (1 + .25 + .25 + 1 + 0) / 5 = 0.5
    spread = np.sqrt(0.5) + EPSILON
    method = load_method({"method": "hindsight", "form": "to_go"})
    assert method.needs == ("hindsight", "hindsight_chain")
    found = method.assign(group(one, other, base=[0.7, -0.7]))
    np.testing.assert_allclose(found[0].advantages_T, np.array([1, 0.5, -0.5, 0]) / spread)
    np.testing.assert_allclose(found[1].advantages_T, np.array([-1.0, 0.0]) / spread)
    paid = load_method({"method": "hindsight", "form": "to_go", "outcome_weight": 2.0})
    with_outcome = paid.assign(group(one, other, base=[0.7, -0.7]))[0]
    np.testing.assert_allclose(with_outcome.advantages_T, found[0].advantages_T + 1.4)


def test_flow_pays_each_token_for_its_own_step():
    one = chain(1.0, [1.0, -0.5], mean=[-0.5, -0.5], answer=1, name="a")
    other = chain(0.0, [0.0, -7.0], mean=[0.0, -1.0], name="b")
    # v - b: 1.5, 0 and 0, -5 + 1 (bounded at 5); mean (1.5 - 4) / 4 = -0.625
    gains = np.array([1.5, 0.0, 0.0, -4.0])
    spread = gains.std() + EPSILON
    assert gains.std() == pytest.approx(np.sqrt((2.25 + 16) / 4 - 0.625**2))
    found = load_method("flow").assign(group(one, other, base=[0.5, -0.5]))
    np.testing.assert_allclose(found[0].advantages_T, [1.5 / spread, 0, 0])
    np.testing.assert_allclose(found[1].advantages_T, [0, -4 / spread])


def test_answer_is_chosen_by_form_or_by_hand():
    def needs(**options):
        return load_method({"method": "hindsight", **options}).needs[0]

    assert needs() == "hindsight_reached"
    assert needs(answer="reference") == "hindsight"
    assert needs(form="to_go", answer="reached") == "hindsight_reached"
    sample = chain(1.0, [np.log(2.0)], reached=[np.log(4.0)])
    own = load_method("hindsight").assign(group(sample, base=[1.0]))[0]
    reference = load_method({"method": "hindsight", "answer": "reference"})
    assert own.values_T == pytest.approx([0.75])
    assert reference.assign(group(sample, base=[1.0]))[0].values_T == pytest.approx([0.5])


@pytest.mark.parametrize("form", [{"form": "credit"}, {"form": "to_go"}, None])
def test_a_helper_that_knows_nothing_gives_nothing(form):
    method = load_method({"method": "hindsight", **form} if form else "flow")
    found = method.assign(group(chain(1.0, [0.0, 0.0]), chain(0.0, [0.0]), base=[1.0, -1.0]))
    assert all((credit.advantages_T == 0).all() for credit in found)


def test_the_control_moves_the_numbers_and_keeps_them():
    h = np.linspace(-0.6, 2.0, 12)
    sample = chain(1.0, h, answer=2, name="x")
    control = load_method({"method": "shuffled", "inner": {"method": "hindsight"}})
    true = load_method("hindsight").assign(group(sample, base=[1.0]))[0].advantages_T
    mixed = control.assign(group(sample, base=[1.0], seed=4))[0].advantages_T
    again = control.assign(group(sample, base=[1.0], seed=4))[0].advantages_T
    assert not np.allclose(mixed, true) and (mixed == again).all()
    np.testing.assert_allclose(sorted(mixed), sorted(true))


def test_the_control_moves_nothing_onto_tokens_that_may_not_be_trained():
    sample = chain(1.0, [1.0, 2.0, 3.0, 0.5], mask=[1, 0, 1, 1])
    control = load_method({"method": "shuffled", "inner": {"method": "hindsight"}})
    for seed in range(8):
        found = control.assign(group(sample, base=[1.0], seed=seed))[0].advantages_T
        assert found[1] == 0
        np.testing.assert_allclose(sorted(found)[1:], 1 - np.exp(-np.array([0.5, 1.0, 3.0])))


@given(
    st.lists(st.floats(-4, 4), min_size=1, max_size=8),
    st.floats(0, 1).filter(lambda x: x == 0 or x > 1e-3),
)
def test_to_go_is_the_sum_of_what_comes(rewards, discount):
    reward_T = np.array(rewards)
    expected = [
        sum(discount ** (s - t) * rewards[s] for s in range(t, len(rewards)))
        for t in range(len(rewards))
    ]
    np.testing.assert_allclose(to_go(reward_T, discount), expected, atol=1e-9)
