"""Areas under ROC curves, and a mixture whose rate is known."""

from __future__ import annotations

import numpy as np
import pytest

from apportion.errors import UserError
from apportion.faithfulness.roc import auc, separation
from apportion.trace import Probe, Problem


def probes(values):
    return [
        Probe(rollout_id=str(i), problem_id=str(i), measure="m", value=value)
        for i, value in enumerate(values)
    ]


def test_the_area_counts_pairs_and_half_of_the_ties():
    assert auc([1.0, 2.0], [0.0, 0.5]) == 1.0
    assert auc([0.0], [1.0]) == 0.0
    assert auc([1.0, 1.0], [1.0]) == 0.5
    # Of 6 pairs 3 are above and 2 tie.
    assert auc([3.0, 2.0, 1.0], [2.0, 1.0]) == pytest.approx((3 + 2 / 2) / 6)


def test_separation_leaves_out_what_has_no_value():
    found = separation(probes([1.0, None, 0.9]), probes([0.0, 0.1, None]))
    assert found is not None and (found.value, found.n) == (1.0, 2)
    assert separation(probes([None]), probes([0.0])) is None


def test_a_mixture_gives_each_problem_to_one_of_the_two_at_the_rate():
    from apportion.policies.mixture import MixedPolicy
    from apportion.policies.tiny import load_tiny

    tiny = load_tiny("sums")
    mixed = MixedPolicy(tiny, tiny, 0.3)
    problems = [Problem(id=f"p{i}", prompt="2 + 3\n", answers=("5",)) for i in range(1000)]
    share = sum(map(mixed.member, problems)) / 1000
    assert 0.25 < share < 0.35
    assert [mixed.member(p) for p in problems] == [mixed.member(p) for p in problems]
    one = mixed.sample(problems[:6], temperature=0.0, max_tokens=12)
    assert [r.problem.id for r in one] == [p.id for p in problems[:6]]
    assert {r.text for r in one} == {
        tiny.sample(problems[:1], temperature=0.0, max_tokens=12)[0].text
    }
    with pytest.raises(UserError, match="within 0 and 1"):
        MixedPolicy(tiny, tiny, 1.5)


def test_many_problems_together_are_told_where_single_chains_are_not():
    rng = np.random.default_rng(0)
    high, low = probes(rng.normal(1, 1, 80)), probes(rng.normal(0, 1, 80))
    one, ten = separation(high, low, resamples=20), separation(high, low, of=10, resamples=20)
    # Normal with means 1 apart: area = Phi(1 / sqrt 2) = 0.76, and Phi(sqrt 5) = 0.99 of ten.
    assert one is not None and one.value == pytest.approx(0.76, abs=0.08)
    assert ten is not None and ten.value == pytest.approx(0.99, abs=0.02)


def test_another_figure_of_the_probes_can_be_compared():
    parts = [p.model_copy(update={"parts": {"x": 1.0}}) for p in probes([0.0, 0.0])]
    others = [p.model_copy(update={"parts": {"x": 0.5, "y": None}}) for p in probes([9.0, 9.0])]
    found = separation(parts, others, part="x", resamples=5)
    assert found is not None and found.value == 1.0
    assert separation(parts, others, part="y") is None
