"""Each form against numbers worked out by hand."""

import math

import numpy as np
import pytest

from apportion.credit.likelihood import FORMS, Scored, load_form
from apportion.credit.likelihood.base import leave_one_out
from apportion.errors import UserError


def scored(*references, blank=(), answered=True):
    """Token probabilities of each reference."""
    logs = tuple(np.log(np.array(tokens)) for tokens in references)
    return Scored(logs, tuple(np.log(np.array(tokens)) for tokens in blank), answered)


def test_leave_one_out_is_the_mean_of_the_others():
    assert leave_one_out(np.array([1.0, 2.0, 6.0])).tolist() == [-3.0, -1.5, 4.5]
    with pytest.raises(ValueError, match="at least two"):
        leave_one_out(np.array([1.0]))


def test_logprob():
    weights = load_form("logprob").weigh([scored([0.5, 0.5]), scored([1.0, 0.5])])
    assert weights.rewards_G == pytest.approx([math.log(0.25), math.log(0.5)])
    assert weights.advantages_G == pytest.approx([-math.log(2), math.log(2)])
    assert weights.answers_GK.tolist() == [[1.0], [1.0]]


def test_logprob_of_several_references():
    group = [scored([0.5], [0.25]), scored([0.5], [0.25])]
    mean = load_form("logprob").weigh(group)
    assert mean.rewards_G[0] == pytest.approx((math.log(0.5) + math.log(0.25)) / 2)
    assert mean.answers_GK[0].tolist() == [0.5, 0.5]
    either = load_form("logprob", references="logsumexp").weigh(group)
    assert either.rewards_G[0] == pytest.approx(math.log(0.75))
    assert either.answers_GK[0] == pytest.approx([2 / 3, 1 / 3])


def test_verifree_weighs_the_answer_by_its_probability():
    weights = load_form("verifree").weigh([scored([0.5, 0.5]), scored([1.0, 0.5]), scored([1.0])])
    assert weights.rewards_G == pytest.approx([0.25, 0.5, 1.0])
    assert weights.advantages_G == pytest.approx([-0.5, -0.125, 0.625])
    assert weights.answers_GK[:, 0] == pytest.approx([0.25, 0.5, 1.0])


def test_verifree_without_the_marker_is_worth_nothing():
    weights = load_form("verifree").weigh([scored([0.5], answered=False), scored([0.5])])
    assert weights.rewards_G.tolist() == [0.0, 0.5]
    assert weights.answers_GK.tolist() == [[0.0], [0.5]]


def test_verifree_of_several_references():
    group = [scored([0.5], [0.25])] * 2
    assert load_form("verifree").weigh(group).rewards_G[0] == pytest.approx(0.375)
    assert load_form("verifree").weigh(group).answers_GK[0] == pytest.approx([0.25, 0.125])
    added = load_form("verifree", references="logsumexp").weigh(group)
    assert added.rewards_G[0] == pytest.approx(0.75)
    assert added.answers_GK[0] == pytest.approx([0.5, 0.25])


def test_rlpr_is_the_gain_in_mean_token_probability():
    blank = ([0.1, 0.5],)  # mean 0.3
    group = [
        scored([0.9, 0.5], blank=blank),  # 0.7 - 0.3
        scored([0.1, 0.1], blank=blank),  # 0.1 - 0.3 is clipped
        scored([0.9, 0.5], blank=blank, answered=False),
    ]
    weights = load_form("rlpr").weigh(group)
    assert weights.rewards_G == pytest.approx([0.4, 0.0, 0.0])
    assert weights.advantages_G == pytest.approx([0.4, -0.2, -0.2])
    assert not weights.answers_GK.any()


def test_nover_ranks_by_perplexity_a_token():
    # Perplexities 2, 4 and 2: the length of a reference does not count against it.
    group = [scored([0.5]), scored([0.25, 0.25]), scored([0.5, 0.5, 0.5])]
    weights = load_form("nover").weigh(group)
    assert weights.rewards_G == pytest.approx([(3 - 1.5) / 3, 0.0, (3 - 1.5) / 3])
    assert not weights.answers_GK.any()


def test_jepo_against_the_bound_by_hand():
    # p = 0.5 and 0.25: L = log 0.375, v = log 0.25 and log 0.5, w = 2/3 and 1/3; all times G = 2.
    weights = load_form("jepo").weigh([scored([0.5]), scored([0.25])])
    assert weights.rewards_G == pytest.approx(np.log([0.5, 0.25]))
    assert weights.advantages_G == pytest.approx(
        [2 * math.log(0.375 / 0.25), 2 * math.log(0.375 / 0.5)]
    )
    assert weights.answers_GK[:, 0] == pytest.approx([4 / 3, 2 / 3])


def test_jepo_of_equal_chains_is_supervised_training():
    weights = load_form("jepo").weigh([scored([0.5])] * 4)
    assert weights.advantages_G == pytest.approx(0.0, abs=1e-12)
    assert weights.answers_GK[:, 0] == pytest.approx(1.0)


def test_a_very_unlikely_answer_stays_finite_under_the_logarithm_and_vanishes_without():
    group = [scored([1e-200] * 4), scored([1e-100] * 4)]
    for name in ("logprob", "jepo", "nover"):
        weights = load_form(name).weigh(group)
        assert np.isfinite(weights.advantages_G).all() and weights.advantages_G.any(), name
    flat = load_form("verifree").weigh(group)
    assert not flat.advantages_G.any() and not flat.answers_GK.any()


@pytest.mark.parametrize("name", ["rlpr", "nover"])
def test_probabilities_cannot_be_added_where_tokens_are_averaged(name):
    with pytest.raises(UserError, match=f"reward.references .form {name}"):
        load_form(name, references="logsumexp")


def test_unknown_form_names_its_neighbour():
    with pytest.raises(UserError, match="jepo"):
        load_form("jeppo")


@pytest.mark.parametrize("name", FORMS)
def test_advantages_of_a_group_that_is_all_the_same_are_zero(name):
    group = [scored([0.5, 0.3], blank=([0.2, 0.2],))] * 3
    assert load_form(name).weigh(group).advantages_G == pytest.approx(0.0, abs=1e-12)
