"""Noise of perturbations and the shaping of their rewards."""

import math

import pytest
import torch

from apportion import UserError
from apportion.train.evolution.noise import draw, members
from apportion.train.evolution.shaping import shape

TASK = {"kind": "words", "operations": [1, 1]}


def test_matrices_of_one_shape_get_noise_of_their_own():
    like = torch.zeros(64, 64)
    drawn = {
        (update, index, name): draw(0, update, index, name, like)
        for update in (1, 2)
        for index in (0, 1)
        for name in ("layers.0.q", "layers.1.q")
    }
    keys = list(drawn)
    for i, one in enumerate(keys):
        for other in keys[:i]:
            together = float((drawn[one] * drawn[other]).mean())
            assert abs(together) < 5 / 64, (one, other)  # 5 standard errors of 64 * 64 draws
    first = drawn[keys[0]]
    assert torch.equal(first, draw(0, 1, 0, "layers.0.q", like))
    assert not torch.equal(first, draw(1, 1, 0, "layers.0.q", like))
    assert abs(float(first.mean())) < 5 / 64 and float(first.std()) == pytest.approx(1, abs=0.06)


def test_antithetic_members_come_in_pairs_of_opposite_noise():
    assert members(4, antithetic=True) == [(0, 1), (0, -1), (1, 1), (1, -1)]
    assert members(3, antithetic=False) == [(0, 1), (1, 1), (2, 1)]


# -- shaping -------------------------------------------------------------------------------------


def test_shapings_by_hand():
    rewards = [0.2, 0.8, 0.2, 0.5]
    # Ranks with ties shared: 0.5, 3, 0.5, 2 of 0 to 3.
    assert shape(rewards, "rank", 0.1) == pytest.approx([-1 / 3, 1 / 2, -1 / 3, 1 / 6])
    mean, std = 0.425, math.sqrt((0.225**2 * 2 + 0.375**2 + 0.075**2) / 4)
    expected = [(reward - mean) / std for reward in rewards]
    assert shape(rewards, "zscore", 0.1) == pytest.approx(expected)
    assert shape(rewards, "none", 0.1) == pytest.approx([-2.25, 3.75, -2.25, 0.75])


@pytest.mark.parametrize("shaping", ["rank", "zscore", "none"])
def test_equal_rewards_pull_nowhere(shaping):
    # 0.1 + 0.1 + 0.1 is not 0.3: a mean taken off would leave a rest.
    assert shape([0.1] * 3, shaping, 1e-9).tolist() == [0.0] * 3


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_reward_that_is_not_finite_is_named(bad):
    with pytest.raises(UserError, match=r"perturbation 2 is (nan|-?inf): lower evolution\.sigma"):
        shape([0.1, 0.2, bad], "rank", 0.1)


# -- weights -------------------------------------------------------------------------------------
