import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.credit.base import EPSILON
from apportion.credit.capo import Capo
from tests.credit.helpers import completion, group


def test_rewards_are_plus_two_plus_one_zero_minus_one():
    right = completion(1.0, (1, "useful"), (1, "harmful"), name="a")
    wrong = completion(0.0, (1, "useful"), (1, "harmful"), name="b")
    credits = Capo().assign(group(right, wrong, base=[0.7, -0.7]))
    assert credits[0].values_T.tolist() == [2, 1]
    assert credits[1].values_T.tolist() == [0, -1]


def test_advantage_is_normalised_over_all_tokens_of_the_group():
    right = completion(1.0, (3, "useful"), name="a")
    wrong = completion(0.0, (1, "harmful"), name="b")
    credits = Capo().assign(group(right, wrong, base=[0.7, -0.7]))
    # Rewards 2, 2, 2, -1: mean 1.25, population std sqrt(3 * 0.75**2 + 2.25**2) / 2 = 1.29904
    std = np.sqrt((3 * 0.75**2 + 2.25**2) / 4)
    np.testing.assert_allclose(credits[0].advantages_T, [0.75 / (std + EPSILON)] * 3)
    np.testing.assert_allclose(credits[1].advantages_T, [-2.25 / (std + EPSILON)])


def test_average_votes_give_a_fraction_of_the_penalty():
    sample = completion(1.0, (1, "useful"), (1, "useful"))
    steps = (sample.steps[0], sample.steps[1].model_copy(update={"wrong": 0.25}))
    consensus = sample.consensus.model_copy(update={"steps": steps})
    sample = type(sample)("r", 1.0, sample.mask_T, sample.spans_T, consensus)
    assert Capo().assign(group(sample, base=[0.0]))[0].values_T.tolist() == [2, 1.75]


def test_linear_schedule_starts_without_process_weight():
    sample = completion(0.0, (1, "harmful"), (1, "useful"))
    at = [
        Capo(schedule="linear").assign(group(sample, base=[0], progress=p))[0].values_T.tolist()
        for p in (0.0, 0.5, 1.0)
    ]
    assert at == [[0, 0], [-0.5, 0], [-1, 0]]


def test_all_wrong_group_is_pure_process_reward_unless_mixed_only():
    one, two = completion(0.0, (2, "harmful"), name="a"), completion(0.0, (2, "useful"), name="b")
    plain = Capo().assign(group(one, two, base=[0, 0]))
    assert plain[1].advantages_T[0] > 0.9
    cured = Capo(mixed_only=True).assign(group(one, two, base=[0, 0]))
    assert not cured[0].advantages_T.any() and not cured[1].advantages_T.any()


def test_equal_rewards_teach_nothing():
    one, two = completion(1.0, (2, "useful"), name="a"), completion(1.0, (3, "useful"), name="b")
    credits = Capo().assign(group(one, two, base=[0, 0]))
    assert not any(c.advantages_T.any() for c in credits)


def test_failed_review_leaves_the_group_and_its_statistics():
    reviewed = [completion(1.0, (1, "useful"), name="a"), completion(0.0, (1, "harmful"), name="b")]
    failed = completion(0.0, (5, "useful"), name="c", reviewed=False)
    alone = Capo().assign(group(*reviewed, base=[0.5, -0.5]))
    beside = Capo().assign(group(*reviewed, failed, base=[0.5, -0.5, -0.5]))
    assert beside[0].advantages_T.tolist() == alone[0].advantages_T.tolist()
    assert not beside[2].advantages_T.any()


def test_no_review_at_all_is_outcome_credit():
    samples = [
        completion(1.0, (2, "useful"), name="a", reviewed=False),
        completion(0.0, (1, "useful"), name="b", reviewed=False),
    ]
    credits = Capo().assign(group(*samples, base=[0.5, -0.5]))
    assert credits[0].advantages_T.tolist() == [0.5, 0.5]
    assert credits[1].advantages_T.tolist() == [-0.5]


def test_focus_charges_only_the_tokens_pointed_at():
    sample = completion(1.0, (4, "harmful", "agreed", (2, 3)))
    assert Capo(blame_on="focus").assign(group(sample, base=[0]))[0].values_T.tolist() == [
        2,
        2,
        1,
        2,
    ]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 1.0]),
            st.lists(
                st.tuples(st.integers(1, 4), st.sampled_from(["useful", "harmful"])), min_size=1
            ),
        ),
        min_size=2,
        max_size=5,
    ),
    st.randoms(),
)
def test_group_mean_is_zero_and_order_does_not_matter(chains, random):
    samples = [completion(r, *steps, name=str(i)) for i, (r, steps) in enumerate(chains)]
    credits = Capo().assign(group(*samples, base=[0] * len(samples)))
    everything = np.concatenate([c.advantages_T for c in credits])
    assert everything.mean() == pytest.approx(0, abs=1e-9)
    order = list(range(len(samples)))
    random.shuffle(order)
    moved = Capo().assign(group(*[samples[i] for i in order], base=[0] * len(samples)))
    for position, i in enumerate(order):
        np.testing.assert_allclose(moved[position].advantages_T, credits[i].advantages_T)


def test_defaults_are_the_papers():
    assert (Capo().outcome_weight, Capo().process_weight) == (2.0, 1.0)
