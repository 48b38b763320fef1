"""Reviewers valued by gains whose truth is known here."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion import UserError
from apportion.consensus.bandit import NOBODY, BanditOptions, ReviewerBandit
from apportion.consensus.value import Observation, Value, better, values_of

PHI = NormalDist().cdf


def play(bandit, gain_of, blocks, error=0.01):
    """``gain_of(names, block)`` is the gain of a block; who reviewed each block."""
    used = []
    for _ in range(blocks):
        used.append(bandit.next_block())
        bandit.observe(gain_of(used[-1], bandit.block), error)
    bandit.next_block()
    return used


def by_quality(**gains):
    return lambda names, block: gains.get(names[0], 0.0) if len(names) == 1 else 0.0


# -- values ----------------------------------------------------------------------------------------


def test_posterior_by_hand():
    # Two times with mean gains 0.04 and 0.01: values a +0.01, +0.01; b -0.01, -0.01.
    seen = [
        Observation("a", 0.05, 0.01, 0),
        Observation("b", 0.03, 0.01, 0),
        Observation("a", 0.02, 0.01, 1),
        Observation("b", 0.00, 0.01, 1),
    ]
    values = values_of(seen, ["a", "b", "c"], prior_sd=0.05)
    # Nothing varies from time to time: spread (0 + 2 * 1e-4) / (1 + 2); the error 1e-4 is larger.
    precision = 1 / 0.0025 + 2 / 1e-4
    assert values["a"].mean == pytest.approx(2 * 0.01 / 1e-4 / precision)
    assert values["b"].mean == pytest.approx(-values["a"].mean)
    assert values["a"].sd == pytest.approx(precision**-0.5)
    assert (values["a"].blocks, values["c"].blocks) == (2, 0)
    assert values["c"] == Value(0.0, 0.05, 0)
    assert values["a"].above_mean == pytest.approx(PHI(values["a"].mean / values["a"].sd))
    assert better(values["a"], values["b"]) == pytest.approx(
        PHI(2 * values["a"].mean / (math.sqrt(2) * values["a"].sd))
    )


def test_what_varies_from_block_to_block_counts_beside_the_error_of_measurement():
    # Values of a: +0.1, -0.1, +0.1, -0.1 (b the opposite): squares 8 * 0.01, freedom 8 - 2 - 3.
    seen = [
        Observation(name, sign * side * 0.1, 1e-4, time)
        for time, sign in enumerate((1, -1, 1, -1))
        for name, side in (("a", 1), ("b", -1))
    ]
    spread = (0.08 + 2 * 1e-8) / (3 + 2)
    values = values_of(seen, ["a", "b"], prior_sd=1.0)
    assert values["a"].sd == pytest.approx((1 + 4 / spread) ** -0.5)


def test_learning_that_slows_down_harms_no_one():
    """The second of each pair always comes later, where gains are smaller for everybody."""
    seen = [Observation(n, 0.1 / (1 + t), 0.01, t) for t in range(4) for n in ("a", "b")]
    values = values_of(seen, ["a", "b"], prior_sd=0.05)
    assert values["a"].mean == values["b"].mean == 0.0


# -- decisions -------------------------------------------------------------------------------------


def test_elimination_drops_the_worse_and_says_why():
    bandit = ReviewerBandit(["good", "fair", "bad"], BanditOptions(cycles=4))
    used = play(bandit, by_quality(good=0.06, fair=0.05, bad=-0.02), 12)
    # Two cycles of three; then bad is dropped and two cycles of two are left, then all together.
    assert [sorted(n for (n,) in used[i : i + 3]) for i in (0, 3)] == [["bad", "fair", "good"]] * 2
    assert [sorted(n for (n,) in used[i : i + 2]) for i in (6, 8)] == [["fair", "good"]] * 2
    assert used[10:] == [("fair", "good")] * 2
    assert list(bandit.dropped) == ["bad"]
    (drop,) = [d for d in bandit.decisions if d.action == "dropped"]
    assert drop.block == 6 and drop.reason.startswith("worth -0.04")
    assert "2 blocks; good +0.02" in drop.reason
    assert "probability 0.000 that it is worth more than good, below 0.05" in drop.reason
    weights = bandit.weights()
    assert weights["bad"] == 0.0 and weights["good"] > weights["fair"] > 0
    assert sum(weights.values()) == pytest.approx(3.0)
    settled = [d.reviewer for d in bandit.decisions if d.action == "settled"]
    assert settled == ["fair", "good"] and bandit.block_weights() == weights
    assert len(bandit.decisions) == 10 + 1 + 2


def test_equal_reviewers_are_kept_with_equal_weights():
    bandit = ReviewerBandit(["a", "b", "c"])
    play(bandit, lambda names, block: 0.03, 9)
    assert bandit.settled and not bandit.dropped
    assert bandit.weights() == pytest.approx({"a": 1.0, "b": 1.0, "c": 1.0})


def test_noise_alone_drops_few():
    rng = np.random.default_rng(0)
    dropped = 0
    for seed in range(100):
        bandit = ReviewerBandit(["a", "b"], BanditOptions(cycles=3), seed=seed)
        play(bandit, lambda names, block: rng.normal(0.03, 0.02), 6, error=0.02)
        dropped += len(bandit.dropped)
    # One of two goes by chance at one-sided 5 % per side and look: two sides, two looks.
    assert dropped <= 25


def test_thompson_prefers_the_better_one():
    options = BanditOptions("thompson", cycles=10)
    share = []
    for seed in range(10):
        bandit = ReviewerBandit(["a", "b"], options, seed=seed)
        used = play(bandit, by_quality(a=0.03, b=0.0), 20, error=0.02)
        share.append(sum(names == ("a",) for names in used[:20]) / 20)
    assert np.mean(share) > 0.6
    chosen = next(d for d in bandit.decisions if d.action == "assigned")
    assert chosen.reason.startswith("its value was drawn largest, ")


def test_a_reviewer_worse_than_none_is_dropped_and_the_last_is_kept_unless_told_otherwise():
    options = BanditOptions(cycles=3, control=True)
    harmful = by_quality(only=-0.05, nobody=0.03)
    bandit = ReviewerBandit(["only"], options)
    used = play(bandit, harmful, 6)
    assert sorted(used) == [("nobody",)] * 3 + [("only",)] * 3
    assert not bandit.dropped and bandit.weights() == {"only": 1.0}
    bandit = ReviewerBandit(["only"], options._replace(keep=0))
    play(bandit, harmful, 6)
    assert "worth more than nobody" in bandit.dropped["only"]
    assert bandit.next_block() == () and bandit.block_weights() == {"only": 0.0}


def test_the_control_reviews_nothing():
    bandit = ReviewerBandit(["a"], BanditOptions(control=True))
    for _ in range(2):
        if bandit.next_block() == (NOBODY,):
            assert bandit.block_weights() == {"a": 0.0}
        else:
            assert bandit.block_weights() == {"a": 1.0}
        bandit.observe(0.0, 0.01)


def test_one_without_weight_at_the_start_takes_no_part():
    bandit = ReviewerBandit(["a", "b", "c"], start={"a": 1.2, "b": 0.0})
    used = play(bandit, by_quality(), 4)
    assert bandit.dropped == {"b": "no better than chance on planted errors"}
    assert ("b",) not in used
    with pytest.raises(UserError, match="no reviewer is better than chance"):
        ReviewerBandit(["a"], start={"a": 0.0})


def test_names_and_misuse():
    with pytest.raises(UserError, match="different names"):
        ReviewerBandit(["a", "a"])
    with pytest.raises(UserError, match="none 'nobody'"):
        ReviewerBandit(["nobody"])
    bandit = ReviewerBandit(["a", "b"])
    with pytest.raises(ValueError, match="after next_block"):
        bandit.observe(0.0, 0.1)
    assert bandit.next_block() == bandit.next_block()
    for gain, error in ((math.nan, 0.1), (0.0, math.inf), (0.0, -1.0)):
        with pytest.raises(ValueError, match="no observation"):
            bandit.observe(gain, error)
    with pytest.raises(ValueError, match="prior_sd"):
        values_of([], ["a"], prior_sd=0.0)


gains = st.lists(st.floats(-0.2, 0.2), min_size=12, max_size=12)
methods = st.sampled_from(["elimination", "thompson"])


@settings(max_examples=60, deadline=None)
@given(gains, st.integers(0, 99), st.permutations("abc"), methods, st.booleans(), st.integers(0, 2))
def test_weights_are_conserved_and_the_order_of_names_does_not_matter(
    gains, seed, names, method, control, keep
):
    options = BanditOptions(method, control=control, keep=keep)
    one, two = (ReviewerBandit(n, options, seed=seed) for n in ("abc", names))
    for bandit in (one, two):
        for gain in gains:
            bandit.next_block()
            weights = bandit.weights()
            assert all(weight >= 0 for weight in weights.values())
            expected = 3.0 if bandit.left else 0.0
            assert math.fsum(weights.values()) == pytest.approx(expected)
            assert len(bandit.left) >= keep
            bandit.observe(gain, 0.01)
    assert one.decisions == two.decisions and one.weights() == two.weights()
