"""Credit by values along the chain, against numbers worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion import UserError
from apportion.credit import load_method, name_of
from tests.credit.helpers import completion, group


def valued(outcome, lengths, values, *, prefix="", choice=None, mask=None, name="r"):
    """Steps of so many tokens; V at the start of each, and the outcome at the end of the last."""
    sample = completion(outcome, answer=sum(lengths), reviewed=False, mask=mask, name=name)
    after = [*values[1:], 0.0 if outcome != outcome else outcome]
    signals = {
        f"{prefix}value": np.repeat(np.array(values, float), lengths),
        f"{prefix}value_after": np.repeat(np.array(after, float), lengths),
    }
    if choice is not None:
        signals["choice"] = np.array(choice, float)
    return replace(sample, signals=signals)


def test_a_step_is_paid_what_it_adds_to_the_value():
    right = valued(1.0, [2, 1, 1], [0.5, 0.25, 0.75], name="a")
    wrong = valued(0.0, [1, 3], [0.5, 0.0], name="b")
    method = load_method("monte_carlo")
    assert name_of(method) == "monte_carlo"
    assert method.needs == ("value", "value_after") and not method.reads_reviews
    found = method.assign(group(right, wrong, base=[0.7, -0.7]))
    assert found[0].advantages_T.tolist() == [-0.25, -0.25, 0.5, 0.25]
    # The first step of the wrong chain lost it; what comes after is not to blame.
    assert found[1].advantages_T.tolist() == [-0.5, 0.0, 0.0, 0.0]


@given(
    st.lists(st.tuples(st.integers(1, 4), st.floats(0, 1)), min_size=1, max_size=8),
    st.sampled_from([0.0, 1.0]),
)
def test_over_the_steps_it_adds_up_to_outcome_minus_first_value(steps, outcome):
    lengths, values = zip(*steps, strict=True)
    sample = valued(outcome, lengths, values)
    paid_T = load_method("monte_carlo").assign(group(sample, base=[0.3]))[0].advantages_T
    firsts = np.cumsum([0, *lengths[:-1]])
    assert paid_T[firsts].sum() == pytest.approx(outcome - values[0], abs=1e-9)


def test_undecided_and_masked_get_nothing():
    undecided = valued(float("nan"), [2], [0.5], name="a")
    masked = valued(1.0, [1, 1], [0.5, 0.0], mask=[1, 0], name="b")
    found = load_method("monte_carlo").assign(group(undecided, masked, base=[0.0, 1.0]))
    assert found[0].advantages_T.tolist() == [0.0, 0.0]
    assert found[1].advantages_T.tolist() == [-0.5, 0.0]


def test_segments_pay_only_where_there_was_a_choice():
    sample = valued(1.0, [2, 2], [0.5, 0.25], prefix="segment_", choice=[0, 1, 1, 0])
    found = load_method("segment").assign(group(sample, base=[1.0]))[0]
    assert found.advantages_T.tolist() == [0.0, -0.25, 0.75, 0.0]
    assert found.values_T.tolist() == [-0.25, -0.25, 0.75, 0.75]
    every = load_method({"method": "segment", "choices_only": False})
    assert every.assign(group(sample, base=[1.0]))[0].advantages_T.tolist() == [
        -0.25,
        -0.25,
        0.75,
        0.75,
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"method": "monte_carlo", "samples": 0},
        {"method": "segment", "probability": 1.5},
        {"method": "segment", "segments": 0},
    ],
)
def test_options_out_of_range_are_said(options):
    with pytest.raises(UserError, match=r"credit\."):
        load_method(options)
