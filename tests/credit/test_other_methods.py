from dataclasses import replace

import numpy as np
import pytest

from apportion.credit import METHODS, group_advantage, load_method
from apportion.credit.base import EPSILON
from apportion.credit.papo import Papo
from apportion.credit.share import share
from tests.credit.helpers import completion, group


def test_group_advantage_by_hand():
    # mean 0.25, unbiased std 0.5
    got = group_advantage(np.array([1.0, 0, 0, 0]))
    np.testing.assert_allclose(got, np.array([0.75, -0.25, -0.25, -0.25]) / (0.5 + EPSILON))
    np.testing.assert_allclose(group_advantage(np.array([1.0, 0]), "none"), [0.5, -0.5])


def test_undecided_outcomes_get_no_advantage_and_do_not_count():
    got = group_advantage(np.array([1.0, np.nan, 0.0]))
    assert got[1] == 0
    np.testing.assert_allclose(got[[0, 2]], group_advantage(np.array([1.0, 0.0])))


def test_papo_adds_process_among_the_right_only():
    clean = completion(1.0, (1, "useful"), (1, "useful"), name="a")
    flawed = completion(1.0, (1, "useful"), (1, "harmful"), name="b")
    wrong = completion(0.0, (1, "useful"), (1, "useful"), name="c")
    credits = Papo().assign(group(clean, flawed, wrong, base=[0.5, 0.5, -1.0]))
    # Scores 1 and 0.5: mean 0.75, unbiased std sqrt(2) / 4
    process = 0.25 / (np.sqrt(2) / 4 + EPSILON)
    np.testing.assert_allclose(credits[0].advantages_T, [0.5 + process] * 2)
    np.testing.assert_allclose(credits[1].advantages_T, [0.5 - process] * 2)
    assert credits[2].advantages_T.tolist() == [-1.0, -1.0]


def test_papo_with_one_right_completion_is_outcome():
    one = completion(1.0, (1, "harmful"), name="a")
    other = completion(0.0, (1, "useful"), name="b")
    credits = Papo().assign(group(one, other, base=[0.5, -0.5]))
    assert [c.advantages_T.tolist() for c in credits] == [[0.5], [-0.5]]


@pytest.mark.parametrize("inner", ["dca", "capo"])
def test_shuffled_keeps_the_verdicts_and_loses_their_places(inner):
    labels = ["useful", "useful", "harmful", "irrelevant", "useful", "irrelevant"]
    steps = [(2, label) for label in labels]
    samples = [completion(0.0, *steps, name=str(i)) for i in range(40)]
    samples.append(completion(1.0, *steps, name="right"))
    base = [-0.2] * 40 + [1.0]
    true = load_method(inner).assign(group(*samples, base=base))
    control = load_method({"method": "shuffled", "inner": {"method": inner}})
    mixed = control.assign(group(*samples, base=base, seed=3))
    again = control.assign(group(*samples, base=base, seed=3))
    moved = 0
    for a, b, c in zip(true, mixed, again, strict=True):
        assert b.advantages_T.tolist() == c.advantages_T.tolist()
        np.testing.assert_allclose(sorted(a.advantages_T), sorted(b.advantages_T))
        moved += not np.array_equal(a.advantages_T, b.advantages_T)
    assert moved > 30
    # Averaged over chains, no step is worth more than another: the places are forgotten.
    per_step = np.mean([c.values_T.reshape(6, 2)[:, 0] for c in mixed[:40]], axis=0)
    assert np.ptp(per_step) < np.ptp(true[0].values_T)


def _measured(method, sample):
    """The sample with some number for each token of what the method needs."""
    numbers = np.linspace(1.0, 0.5, len(sample.mask_T))
    return replace(sample, signals=dict.fromkeys(method.needs, numbers))


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_is_silent_off_the_mask_and_copes_with_nothing(name):
    method = load_method(name)
    masked = completion(1.0, (2, "useful"), (2, "harmful"), mask=[1, 0, 1, 0], name="a")
    empty = completion(0.0, name="b")
    bare = completion(0.0, answer=3, reviewed=False, name="c")
    samples = [_measured(method, sample) for sample in (masked, empty, bare)]
    credits = method.assign(group(*samples, base=[1.0, -0.5, -0.5]))
    assert [len(c.advantages_T) for c in credits] == [4, 0, 3]
    assert credits[0].advantages_T[[1, 3]].tolist() == [0, 0]
    assert all(np.isfinite(c.advantages_T).all() for c in credits)


@pytest.mark.parametrize("name", ["outcome", "dca", "shuffled", "random"])
def test_redistributing_methods_conserve(name):
    sample = completion(1.0, (2, "useful"), (3, "harmful"), (1, "irrelevant"), answer=2)
    credit = load_method(name).assign(group(sample, base=[0.8]))[0]
    assert credit.advantages_T.sum() == pytest.approx(0.8 * 8)


def test_share_refuses_what_cannot_be_shared():
    with pytest.raises(ValueError, match="cap"):
        share(np.ones(3), cap=0.5)
    with pytest.raises(ValueError, match="negative"):
        share(np.array([1.0, -1.0]))


def test_every_method_explains_itself():
    for name, cls in METHODS.items():
        assert cls.__doc__ and ("Source" in cls.__doc__ or name in ("shuffled", "random"))
        assert "egenerate case" in cls.__doc__, name
