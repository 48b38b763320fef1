import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion import UserError
from apportion.credit import load_method
from apportion.credit.dca import Dca
from tests.credit.helpers import completion, group


def multipliers(sample, base, **options):
    return Dca(**options).assign(group(sample, base=[base]))[0].values_T


def test_right_chain_by_hand():
    # 2 useful, 2 irrelevant, 2 answer tokens: the four agreed tokens share 4, all of it useful.
    sample = completion(1.0, (2, "useful"), (2, "irrelevant"), answer=2)
    np.testing.assert_allclose(multipliers(sample, 0.5, cap=9), [2, 2, 0, 0, 1, 1])


def test_failed_chain_blames_harmful_first_and_never_by_usefulness():
    # Weights 0, 1, 0.5 over 2 + 1 + 2 tokens; six reviewed tokens would be 5: 5 * w / 2.
    sample = completion(0.0, (2, "useful"), (1, "harmful"), (2, "irrelevant"), answer=1)
    np.testing.assert_allclose(multipliers(sample, -0.5, cap=9), [0, 0, 2.5, 1.25, 1.25, 1.0])


def test_cap_passes_on_what_it_cuts():
    # 1 harmful of 4: would be 4, capped at 2; the other 2 go to the weightless three, 2/3 each.
    sample = completion(0.0, (3, "useful"), (1, "harmful"))
    np.testing.assert_allclose(multipliers(sample, -1.0, cap=2), [2 / 3, 2 / 3, 2 / 3, 2])


def test_floor_keeps_a_minimum():
    sample = completion(1.0, (2, "useful"), (2, "irrelevant"))
    np.testing.assert_allclose(multipliers(sample, 1.0, cap=9, floor=0.5), [1.5, 1.5, 0.5, 0.5])


def test_disputed_tokens_get_exactly_the_base_advantage():
    sample = completion(1.0, (1, "useful"), (2, "harmful", "disputed"), (1, "irrelevant"))
    credit = Dca(cap=9).assign(group(sample, base=[0.7]))[0]
    assert credit.values_T.tolist() == [2, 1, 1, 0]
    assert credit.advantages_T[1] == 0.7


def test_signed_pays_less_than_nothing_for_a_mistake_caught_later():
    # Debit 0.5 on one token; the other three share 4 + 0.5 = 4.5, 1.5 each.
    sample = completion(1.0, (1, "harmful"), (3, "useful"))
    got = multipliers(sample, 1.0, cap=9, signed=True, penalty=0.5)
    np.testing.assert_allclose(got, [-0.5, 1.5, 1.5, 1.5])
    assert multipliers(sample, 1.0, cap=9)[0] == 0


def test_signed_penalty_shrinks_to_what_the_cap_lets_the_others_take():
    # The cap of 2 rises by the penalty to 7: one token takes 7 of 3, so the two owe 2 each, not 5.
    sample = completion(1.0, (2, "harmful"), (1, "useful"))
    np.testing.assert_allclose(
        multipliers(sample, 1.0, cap=2, signed=True, penalty=5.0), [-2, -2, 7], atol=1e-12
    )


def test_signed_penalty_fits_where_half_of_the_tokens_are_harmful():
    sample = completion(1.0, (2, "harmful"), (2, "useful"))
    got = multipliers(sample, 1.0, signed=True, penalty=0.5)
    np.testing.assert_allclose(got, [-0.5, -0.5, 2.5, 2.5])


def test_a_right_chain_without_a_useful_step_may_earn_nothing():
    sample = completion(1.0, (2, "harmful"), (1, "irrelevant"), answer=1)
    assert multipliers(sample, 1.0).tolist() == [1, 1, 1, 1]
    assert multipliers(sample, 1.0, unearned="withhold").tolist() == [0, 0, 0, 0]
    assert multipliers(sample, -1.0, unearned="withhold").sum() == pytest.approx(4)
    helped = completion(1.0, (2, "harmful"), (1, "useful"))
    assert multipliers(helped, 1.0, unearned="withhold").sum() == pytest.approx(3)


def test_blame_on_focus_spares_the_innocent_tokens():
    sample = completion(0.0, (4, "harmful", "agreed", (3, 4)), (2, "useful"))
    np.testing.assert_allclose(
        multipliers(sample, -1.0, cap=9, blame_on="focus"), [0, 0, 0, 6, 0, 0]
    )


@pytest.mark.parametrize(
    "sample",
    [
        completion(0.0, (2, "useful"), (3, "useful")),  # equal weights
        completion(0.0, (2, None), answer=2),  # nothing reviewed
        completion(0.0, (2, "harmful", "disputed")),  # no agreement
        completion(0.0, (2, "useful"), reviewed=False),
    ],
)
def test_nothing_to_say_is_outcome_credit(sample):
    assert multipliers(sample, -0.5).tolist() == [1.0] * len(sample.mask_T)


labels = st.sampled_from(["useful", "irrelevant", "harmful"])
statuses = st.sampled_from(["agreed", "agreed", "agreed", "disputed", "unreviewed"])
steps = st.lists(st.tuples(st.integers(1, 6), labels, statuses), min_size=0, max_size=8)


@given(
    steps=steps,
    answer=st.integers(1, 4),
    base=st.floats(-2, 2, allow_nan=False).filter(lambda x: abs(x) > 1e-3),
    cap=st.floats(1, 6),
    floor=st.floats(0, 1),
    signed=st.booleans(),
    data=st.data(),
)
def test_conservation_bounds_and_sign(steps, answer, base, cap, floor, signed, data):
    total = sum(length for length, *_ in steps) + answer
    mask = data.draw(st.lists(st.booleans(), min_size=total, max_size=total))
    sample = completion(float(base > 0), *steps, answer=answer, mask=mask)
    method = Dca(cap=cap, floor=floor, signed=signed)
    credit = method.assign(group(sample, base=[base]))[0]
    on = sample.mask_T
    assert np.all(credit.values_T[~on] == 0) and np.all(credit.advantages_T[~on] == 0)
    if on.any():
        assert credit.values_T[on].mean() == pytest.approx(1.0, abs=1e-9)
        assert credit.advantages_T.sum() == pytest.approx(base * on.sum(), abs=1e-9)
    assert np.all(credit.values_T <= cap + (method.penalty if signed else 0) + 1e-9)
    if not (signed and base > 0):
        assert np.all(credit.advantages_T * base >= -1e-9)
        assert np.all(credit.values_T[on] >= min(floor, 1) - 1e-9)
    for step in sample.steps:
        if step.status != "agreed":
            assert np.all(credit.values_T[sample.tokens_of(step.start, step.end)] == 1.0)


def test_defaults_are_the_vetted_ones():
    assert Dca().model_dump() == {
        "cap": 2.0,
        "floor": 0.0,
        "irrelevant_credit": 0.0,
        "irrelevant_blame": 0.5,
        "signed": False,
        "penalty": 0.5,
        "blame_on": "step",
        "unearned": "spread",
    }


def test_bad_options_name_the_nearest():
    with pytest.raises(UserError, match=r"credit.flor .*did you mean 'floor'"):
        load_method({"method": "dca", "flor": 1})
    with pytest.raises(UserError, match="did you mean 'dca'"):
        load_method("dcaa")
    with pytest.raises(UserError, match="greater than or equal to 1"):
        load_method({"method": "dca", "cap": 0.5})
