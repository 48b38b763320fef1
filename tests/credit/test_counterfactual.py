"""A fixed reward shared by measured effects; hand numbers."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion import UserError
from apportion.credit import load_method
from tests.credit.helpers import completion, group


def _measured(outcome, effects, *, answer=0, known=None):
    """One token a step; ``answer`` tokens without an effect follow."""
    sample = completion(outcome, *((1, None) for _ in effects), answer=answer)
    effect_T = np.array([*effects, *([0.0] * answer)], float)
    known_T = np.array([*(known or [1] * len(effects)), *([0] * answer)], float)
    return replace(sample, signals={"effect": effect_T, "effect_known": known_T})


def _credit(sample, base, **options):
    method = load_method({"method": "counterfactual"} | options)
    return method.assign(group(sample, base=[base]))[0].advantages_T.tolist()


def test_a_right_chain_pays_the_steps_that_were_needed() -> None:
    sample = _measured(1.0, [0.6, 0.2, -0.5, 0.0], answer=1)
    # Weights 0.6, 0.2, 0, 0 of an amount of 4: 3, 1, 0, 0; the answer keeps 1.
    assert _credit(sample, 0.5, cap=4.0) == pytest.approx([1.5, 0.5, 0.0, 0.0, 0.5])
    # The cap of 2 cuts 1 off the first, which goes to the second.
    assert _credit(sample, 0.5) == pytest.approx([1.0, 1.0, 0.0, 0.0, 0.5])


def test_a_wrong_chain_charges_the_steps_without_which_it_would_be_right() -> None:
    sample = _measured(0.0, [0.6, -0.3, -0.1], answer=1)
    assert _credit(sample, -1.0, cap=3.0) == pytest.approx([0.0, -2.25, -0.75, -1.0])


def test_what_was_not_measured_keeps_the_base_advantage() -> None:
    sample = _measured(1.0, [0.5, 0.0, 0.0], known=[1, 1, 0])
    assert _credit(sample, 1.0) == pytest.approx([2.0, 0.0, 1.0])
    assert _credit(_measured(1.0, [0.5, 0.1], known=[0, 0]), 1.0) == [1.0, 1.0]
    assert _credit(_measured(1.0, [-0.5, 0.0]), 1.0) == [1.0, 1.0]  # nothing was needed


@given(
    st.lists(st.floats(-1, 1), min_size=1, max_size=8),
    st.floats(-2, 2),
    st.floats(1, 4),
    st.floats(0, 1),
    st.integers(0, 3),
)
def test_the_sum_does_not_depend_on_the_effects(effects, base, cap, floor, answer) -> None:
    paid = _credit(_measured(1.0, effects, answer=answer), base, cap=cap, floor=floor)
    assert sum(paid) == pytest.approx(base * len(paid), abs=1e-9)
    assert all(abs(value) <= abs(base) * cap + 1e-9 for value in paid)


def test_shuffled_moves_the_effects_and_keeps_the_sum() -> None:
    sample = _measured(1.0, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    method = load_method({"method": "shuffled", "inner": {"method": "counterfactual"}})
    assert method.needs == ("effect", "effect_known")
    found = {
        tuple(method.assign(group(sample, base=[1.0], seed=seed))[0].values_T) for seed in range(9)
    }
    assert len(found) > 1 and all(sum(values) == pytest.approx(6) for values in found)


def test_bad_options() -> None:
    with pytest.raises(UserError, match="intervention"):
        load_method({"method": "counterfactual", "intervention": "deleted"})


def test_outcome_on_the_answer_alone() -> None:
    sample = replace(completion(1.0, (3, None), answer=2), reasoning_end=3)
    one = load_method({"method": "outcome", "on": "answer"})
    assert one.assign(group(sample, base=[0.5]))[0].advantages_T.tolist() == [0, 0, 0, 0.5, 0.5]
    nowhere = replace(sample, reasoning_end=None)
    assert one.assign(group(nowhere, base=[0.5]))[0].advantages_T.tolist() == [0.0] * 5
    assert load_method("outcome").assign(group(sample, base=[0.5]))[0].values_T.tolist() == [1] * 5
