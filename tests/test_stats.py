"""Each statistic against scipy or against numbers worked out by hand."""

import math

import numpy as np
import pytest

from apportion import stats


def test_wilson_equals_scipy():
    scipy_stats = pytest.importorskip("scipy.stats")
    for successes, n in [(0, 7), (3, 10), (41, 100), (200, 200), (1, 1)]:
        expected = scipy_stats.binomtest(successes, n).proportion_ci(method="wilson")
        assert stats.wilson(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_by_hand():
    # p = 1/2, n = 4: centre 1/2; half width z / (2 * sqrt(4 + z^2)) = 1.96 / (2 * 2.8004)
    low, high = stats.wilson(2, 4)
    assert low == pytest.approx(0.5 - 0.34996, abs=1e-4)
    assert high == pytest.approx(0.5 + 0.34996, abs=1e-4)


def test_wilson_without_trials_knows_nothing():
    assert stats.wilson(0, 0) == (0.0, 1.0)
    assert stats.share(0, 0) is None


def test_pass_at_k_by_hand():
    # 5 samples, 2 right, k = 2: 1 - C(3,2)/C(5,2) = 1 - 3/10
    assert stats.pass_at_k(5, 2, 2) == pytest.approx(0.7)
    assert stats.pass_at_k(5, 2, 1) == pytest.approx(0.4)
    assert stats.pass_at_k(5, 4, 2) == 1.0
    assert stats.pass_at_k(5, 0, 5) == 0.0


def test_pass_at_k_is_unbiased():
    # Over all ways to draw k of n samples, the share of draws with a right one is pass@k itself.
    from itertools import combinations

    right = [1, 0, 0, 1, 0, 0, 1]
    for k in range(1, 8):
        draws = [any(draw) for draw in combinations(right, k)]
        assert stats.pass_at_k(7, 3, k) == pytest.approx(np.mean(draws))


@pytest.mark.parametrize("arguments", [(5, 6, 1), (5, 1, 0), (5, 1, 6), (5, -1, 1)])
def test_pass_at_k_refuses_nonsense(arguments):
    with pytest.raises(ValueError, match="pass@k needs"):
        stats.pass_at_k(*arguments)


def test_interquartile_mean_equals_trimmed_mean():
    scipy_stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(1)
    for n in range(1, 20):
        values = rng.normal(size=n)
        expected = scipy_stats.trim_mean(values, 0.25)
        assert stats.interquartile_mean(values) == pytest.approx(expected)


def test_interquartile_mean_ignores_an_outlier():
    assert stats.interquartile_mean(np.array([1.0, 2.0, 3.0, 1000.0])) == 2.5


def test_bootstrap_interval_equals_scipy():
    scipy_stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(2).normal(0.4, 0.1, 40)
    ours = stats.stratified_bootstrap(values, stats.mean, resamples=20_000)
    theirs = scipy_stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=3
    ).confidence_interval
    assert ours is not None
    assert (ours.value, ours.n) == (pytest.approx(values.mean()), 40)
    assert ours.low == pytest.approx(theirs.low, abs=0.003)
    assert ours.high == pytest.approx(theirs.high, abs=0.003)


def test_bootstrap_keeps_strata_apart():
    # Both strata are constant, so only resampling across them could give a width.
    estimate = stats.stratified_bootstrap({"a": [0.0, 0.0, 0.0], "b": [1.0, 1.0, 1.0]}, stats.mean)
    assert estimate == stats.Estimate(0.5, 6, 0.5, 0.5)
    mixed = stats.stratified_bootstrap([0.0, 0.0, 0.0, 1.0, 1.0, 1.0], stats.mean)
    assert mixed is not None
    assert (mixed.low or 0) < 0.2 and (mixed.high or 0) > 0.8


def test_bootstrap_of_one_value_has_no_interval():
    assert stats.stratified_bootstrap([0.3]) == stats.Estimate(0.3, 1)
    assert stats.stratified_bootstrap([]) is None


def test_paired_bootstrap_uses_pairs_only():
    first = {0: 0.1, 1: 0.5, 2: 0.9, 7: 0.0}
    second = {0: 0.2, 1: 0.6, 2: 1.0, 9: 1.0}
    estimate = stats.paired_bootstrap(first, second)
    assert estimate is not None
    # Seeds differ widely, the pairs do not: the interval has no width.
    assert estimate.n == 3
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.1, 0.1, 0.1))


def test_sign_flip_equals_scipy_permutation():
    scipy_stats = pytest.importorskip("scipy.stats")
    d = np.array([0.31, -0.02, 0.11, 0.25, 0.07, -0.12, 0.4])
    expected = scipy_stats.permutation_test(
        (d, np.zeros_like(d)), lambda x, y: np.mean(x - y), permutation_type="samples"
    ).pvalue
    result = stats.sign_flip_test(d)
    assert result is not None and result.exact
    assert result.p == pytest.approx(expected)


def test_sign_flip_by_hand():
    # Five seeds, all better by different amounts: 2 of 32 patterns are as extreme.
    result = stats.sign_flip_test([0.1, 0.2, 0.3, 0.4, 0.5])
    assert result == stats.SignFlip(2 / 32, 5, True, 2 / 32)


def test_sign_flip_of_right_and_wrong_is_mcnemar():
    scipy_stats = pytest.importorskip("scipy.stats")
    differences = [1] * 30 + [-1] * 14 + [0] * 500
    result = stats.sign_flip_test(differences)
    assert result is not None and result.exact and result.pairs == 544
    assert result.p == pytest.approx(scipy_stats.binomtest(14, 44).pvalue)


def test_sign_flip_sampled_is_near_the_normal_value():
    d = np.random.default_rng(4).normal(0.3, 1.0, 60)
    result = stats.sign_flip_test(d)
    assert result is not None and not result.exact
    z = abs(d.sum()) / math.sqrt((d**2).sum())
    assert result.p == pytest.approx(math.erfc(z / math.sqrt(2)), abs=0.01)


def test_sign_flip_without_differences():
    assert stats.sign_flip_test([]) is None
    result = stats.sign_flip_test([0.0, 0.0])
    assert result is not None and result.p == 1.0


def test_holm_by_hand():
    # Sorted 0.01*3, 0.03*2, 0.04*1 -> 0.03, 0.06, and 0.06 again because it may not fall.
    assert stats.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


def test_t_quantiles_are_those_of_the_tables():
    table = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 9: 2.2622, 30: 2.0423, 120: 1.9799}
    for df, value in table.items():
        assert stats.t_quantile(df) == pytest.approx(value, abs=5e-5)
    assert stats.t_quantile(4, 0.95) == pytest.approx(2.1318, abs=5e-5)
    with pytest.raises(ValueError, match="df >= 1"):
        stats.t_quantile(0)


def test_t_quantiles_equal_scipy():
    scipy_stats = pytest.importorskip("scipy.stats")
    for df in (1, 2, 3, 4, 7, 12, 29, 500):
        for p in (0.5, 0.9, 0.975, 0.9995):
            assert stats.t_quantile(df, p) == pytest.approx(scipy_stats.t.ppf(p, df), abs=1e-9)


def test_t_interval_by_hand():
    # 1, 2, 3: mean 2, standard deviation 1, half width 4.302653 / sqrt(3)
    found = stats.t_interval([1, 2, 3])
    assert (found.value, found.n) == (2.0, 3)
    assert found.high - 2 == pytest.approx(2.484138, abs=1e-6)
    assert 2 - found.low == pytest.approx(2.484138, abs=1e-6)
    assert stats.t_interval([]) is None
    assert stats.t_interval([4.0]) == stats.Estimate(4.0, 1)
    same = stats.t_interval([0.1] * 7)
    assert same.low == same.high == same.value


def test_t_interval_holds_its_level_where_the_bootstrap_does_not():
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(1000, 5))
    inside = [e.low <= 0 <= e.high for s in samples if (e := stats.t_interval(s))]
    boot = [
        e.low <= 0 <= e.high
        for s in samples
        if (e := stats.stratified_bootstrap(s, stats.mean, resamples=300))
    ]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.02)
    assert np.mean(boot) < 0.90
