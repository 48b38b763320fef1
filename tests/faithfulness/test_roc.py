"""Areas under ROC curves, and a mixture whose rate is known."""

from __future__ import annotations

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
