import math

import numpy as np
import pytest

from apportion import reach
from apportion.stats import Estimate


def _line(slope: float, level: float = 0.0) -> list[tuple[float, float]]:
    return [(float(x), level + slope * x) for x in range(0, 11)]


def test_rollouts_to_reach_interpolates():
    curve = [(0, 0.2), (100, 0.4), (200, 0.3), (300, 0.8)]
    assert reach.rollouts_to_reach(curve, 0.3) == pytest.approx(50)
    assert reach.rollouts_to_reach(curve, 0.6) == 260
    assert reach.rollouts_to_reach(curve, 0.1) == 0
    assert reach.rollouts_to_reach(curve, 0.9) is None
    assert reach.rollouts_to_reach([], 0.1) is None


def test_common_grid_interpolates_in_the_shared_range():
    xs, rows = reach.common_grid([[(0, 0.0), (10, 1.0)], [(5, 2.0), (20, 5.0)]])
    assert xs.tolist() == [5, 10]
    assert rows.tolist() == [[0.5, 1.0], [2.0, 3.0]]


def test_reach_ratio_of_an_arm_twice_as_fast():
    base = {seed: _line(0.001) for seed in range(4)}
    fast = {seed: _line(0.002) for seed in range(4)}
    ratio = reach.reach_ratio(fast, base)
    assert ratio is not None
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((0.5, 0.5, 0.5))
    assert ratio.n == 4


def test_reach_ratio_of_the_baseline_itself_is_one():
    base = {s: [(x, 0.001 * x + 0.01 * s) for x in range(0, 101, 10)] for s in range(5)}
    ratio = reach.reach_ratio(base, base)
    assert ratio is not None and (ratio.value, ratio.low, ratio.high) == (1.0, 1.0, 1.0)


def test_reach_ratio_never_is_infinite_not_missing():
    base = {0: _line(0.001), 1: _line(0.001)}
    slow = {0: _line(0.0005), 1: _line(0.0005)}
    ratio = reach.reach_ratio(slow, base)
    assert ratio is not None and ratio.value == math.inf and ratio.high == math.inf


def test_reach_ratio_needs_common_seeds_and_a_rising_baseline():
    assert reach.reach_ratio({1: _line(1)}, {0: _line(1)}) is None
    flat = {0: [(0, 0.5), (100, 0.5)]}
    assert reach.reach_ratio(flat, flat) is None


def test_reach_ratio_with_a_t_interval_by_hand():
    base = {seed: _line(1.0) for seed in range(3)}
    # Two seeds of slope 2 and one of slope 4: mean slope 8/3, so 10 is reached at 3.75, and
    # leaving one out it is 2 (once) or 3 (twice): ratios 3/8, 1/2, 1/3, 1/3.
    arm = {0: _line(2.0), 1: _line(2.0), 2: _line(4.0)}
    found = reach.reach_ratio_t(arm, base)
    logs = [math.log(1 / 3), math.log(1 / 3), math.log(1 / 2)]
    pseudo = [3 * math.log(3 / 8) - 2 * log for log in logs]
    half = 4.302653 * np.std(pseudo, ddof=1) / math.sqrt(3)
    assert found.value == pytest.approx(3 / 8)
    assert found.low == pytest.approx(3 / 8 * math.exp(-half), rel=1e-6)
    assert found.high == pytest.approx(3 / 8 * math.exp(half), rel=1e-6)


def test_reach_ratio_with_a_t_interval_at_the_edges():
    base = {seed: _line(1.0) for seed in range(3)}
    slow = reach.reach_ratio_t({seed: _line(0.5) for seed in range(3)}, base)
    assert (slow.value, slow.high) == (math.inf, math.inf) and slow.low == pytest.approx(1.0)
    assert reach.reach_ratio_t({}, base) is None
    assert reach.reach_ratio_t({0: _line(2.0)}, base) == Estimate(0.5, 1)
    level = {seed: _line(0.0, 0.3) for seed in range(3)}
    assert reach.reach_ratio_t(base, level) is None
