"""Weights from measured rates, families, and all-or-nothing consensus."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion import UserError
from apportion.config import ConsensusConfig, RunConfig, check_parts
from apportion.consensus import Voting, consensus
from apportion.consensus.weights import (
    log_odds_weight,
    log_odds_weights,
    measured_rates,
    scaled,
)
from apportion.review import load_reviewer
from apportion.review.check import measure_on_task
from apportion.tasks import load_task
from tests.consensus.test_vote import ABSTAIN, IDLE, RIGHT, WRONG, review


def test_log_odds_by_hand():
    # logit(0.8) = log 4, logit(0.2) = -log 4.
    assert log_odds_weight(0.8, 0.2) == pytest.approx(2 * math.log(4))
    assert log_odds_weight(0.9, 0.5) == pytest.approx(math.log(9))
    assert log_odds_weight(1.0, 0.0) == pytest.approx(2 * math.log(199))


@pytest.mark.parametrize(("tpr", "fpr"), [(0.5, 0.5), (0.3, 0.6), (0.0, 0.0), (1.0, 1.0)])
def test_no_better_than_chance_has_no_weight(tpr, fpr):
    assert log_odds_weight(tpr, fpr) == 0.0


def test_rates_beyond_0_and_1_are_refused():
    with pytest.raises(ValueError, match=r"rate 1.2 is not a probability"):
        log_odds_weight(1.2, 0.0)


def test_weighted_majority_is_the_most_probable_verdict():
    # p(wrong | votes) with even priors: 0.9 * 0.3 * 0.3 = 0.081 against 0.1 * 0.7 * 0.7 = 0.049.
    rates = {"a": (0.9, 0.1), "b": (0.7, 0.3), "c": (0.7, 0.3)}
    reviews = [review("a", WRONG, RIGHT), review("b", RIGHT, RIGHT), review("c", RIGHT, RIGHT)]
    step = consensus(reviews, 10, rates=rates).steps[0]
    assert (step.label, step.wrong) == ("harmful", 1.0)
    # log(0.9/0.1) / (log 9 + 2 log(7/3)) = 2.1972 / 3.8918
    assert step.agreement == pytest.approx(2.1972 / 3.8918, abs=1e-4)
    assert consensus(reviews, 10).steps[0].label == "useful"


def test_a_reviewer_at_chance_is_silent_and_recorded_so():
    rates = {"a": (0.9, 0.1), "b": (0.4, 0.4)}
    reviews = [review("a", RIGHT, RIGHT), review("b", WRONG, WRONG)]
    result = consensus(reviews, 10, rates=rates)
    assert [s.label for s in result.steps] == ["useful", "useful"]
    assert result.weights == {"a": 2.0, "b": 0.0}
    assert result.steps[0].votes == {"a": "useful"}


def test_given_weights_multiply_and_the_unmeasured_count_as_average():
    rates = {"a": (0.9, 0.1), "b": (0.7, 0.3)}
    weights = Voting(rates=rates, weights={"b": 0.5, "c": 3.0}).final_weights()
    total = math.log(9) + math.log(7 / 3)
    assert weights["a"] == pytest.approx(2 * math.log(9) / total)
    assert weights["b"] == pytest.approx(0.5 * 2 * math.log(7 / 3) / total)
    assert weights["c"] == 3.0


rate = st.floats(0, 1)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abcdef"), st.tuples(rate, rate), min_size=1))
def test_weights_are_conserved_bounded_and_ordered(rates):
    weights = log_odds_weights(rates)
    assert all(weight >= 0 for weight in weights.values())
    if any(weights.values()):
        assert math.fsum(weights.values()) == pytest.approx(len(rates))
    for name, (tpr, fpr) in rates.items():
        assert weights[name] == 0 or tpr > fpr
    again = log_odds_weights(dict(reversed(rates.items())))
    assert again == pytest.approx(weights)


def test_scaling_leaves_nothing_alone():
    assert scaled({"a": 0.0, "b": 0.0}) == {"a": 0.0, "b": 0.0}
    assert scaled({"a": 1.0, "b": 3.0}) == {"a": 0.5, "b": 1.5}


def test_rates_of_a_measured_reviewer_are_never_0_or_1():
    exact = measure_on_task(load_reviewer("gold"), load_task("words"), problems=10)
    assert exact is not None and exact.tpr is not None and exact.fpr is not None
    assert (exact.tpr.value, exact.fpr.value) == (1.0, 0.0)
    tpr, fpr = measured_rates(exact) or (0, 0)
    assert tpr == pytest.approx((exact.tpr.n + 0.5) / (exact.tpr.n + 1), abs=1e-5)
    assert fpr == pytest.approx(0.5 / (exact.fpr.n + 1), abs=1e-5)
    blind = exact.model_copy(update={"tpr": None})
    assert measured_rates(blind) is None


def test_rates_not_yet_measured_and_negative_weights_are_refused():
    with pytest.raises(UserError, match="filled in when training starts"):
        consensus([], 0, rates="measured")
    with pytest.raises(UserError, match="weight of a is -1"):
        consensus([], 0, weights={"a": -1})


# -- families --------------------------------------------------------------------------------------


def of_family(name, family, *verdicts):
    return review(name, *verdicts).model_copy(update={"meta": {"family": family}})


def test_agreement_needs_votes_of_several_families():
    one = [of_family("a", "gemma", RIGHT, RIGHT), of_family("b", "gemma", RIGHT, RIGHT)]
    two = [*one, of_family("c", "smol", RIGHT, ABSTAIN)]
    assert {s.status for s in consensus(one, 10).steps} == {"agreed"}
    assert {s.status for s in consensus(one, 10, min_families=2).steps} == {"unreviewed"}
    statuses = [s.status for s in consensus(two, 10, min_families=2).steps]
    assert statuses == ["agreed", "unreviewed"]


def test_the_agreed_label_needs_the_backing_of_several_families():
    reviews = [
        of_family("a", "gemma", WRONG, RIGHT),
        of_family("b", "gemma", WRONG, RIGHT),
        of_family("c", "gemma", WRONG, RIGHT),
        of_family("d", "smol", RIGHT, RIGHT),
    ]
    assert [s.status for s in consensus(reviews, 10).steps] == ["agreed", "agreed"]
    steps = consensus(reviews, 10, min_families=2).steps
    assert [(s.status, s.label) for s in steps] == [("disputed", "harmful"), ("agreed", "useful")]


def test_the_option_names_a_family_before_the_reviewer_does_and_the_name_comes_last():
    reviews = [review("a", RIGHT, RIGHT), review("b", RIGHT, RIGHT)]
    assert consensus(reviews, 10, min_families=2).steps[0].status == "agreed"
    same = {"a": "x", "b": "x"}
    assert consensus(reviews, 10, min_families=2, families=same).steps[0].status == "unreviewed"
    stated = [of_family("a", "x", RIGHT, RIGHT), of_family("b", "x", RIGHT, RIGHT)]
    apart = consensus(stated, 10, min_families=2, families={"b": "y"})
    assert apart.steps[0].status == "agreed"


# -- partial or all-or-nothing ---------------------------------------------------------------------


def test_one_disputed_step_takes_all_down_unless_partial():
    reviews = [review("a", RIGHT, WRONG), review("b", RIGHT, RIGHT)]
    assert [s.status for s in consensus(reviews, 10).steps] == ["agreed", "disputed"]
    whole = consensus(reviews, 10, partial=False).steps
    assert [s.status for s in whole] == ["disputed", "disputed"]
    assert [(s.label, s.wrong) for s in whole] == [("useful", 0.0), ("harmful", 1.0)]


def test_a_step_that_nobody_judged_is_no_dispute():
    reviews = [review("a", RIGHT, ABSTAIN), review("b", RIGHT, ABSTAIN)]
    statuses = [s.status for s in consensus(reviews, 10, partial=False).steps]
    assert statuses == ["agreed", "unreviewed"]


verdicts = st.sampled_from([WRONG, RIGHT, IDLE, ABSTAIN])


@settings(deadline=None)
@given(st.lists(st.tuples(verdicts, verdicts), min_size=1, max_size=4), st.integers(1, 3))
def test_stricter_options_never_agree_on_more(rows, families):
    reviews = [review(f"r{i}", *row) for i, row in enumerate(rows)]
    loose = consensus(reviews, 10).steps
    for options in ({"partial": False}, {"min_families": families}):
        strict = consensus(reviews, 10, **options).steps
        for a, b in zip(loose, strict, strict=True):
            assert b.status != "agreed" or a.status == "agreed"
            assert b.status == "unreviewed" or (a.label, a.agreement) == (b.label, b.agreement)


def test_two_reviews_by_one_model_are_of_one_family_unless_said_otherwise():
    model = {"meta": {"model": "gemma3-270m"}}
    reviews = [review(name, RIGHT, RIGHT).model_copy(update=model) for name in "ab"]
    assert consensus(reviews, 10, min_families=2).steps[0].status == "unreviewed"
    reviews[1] = reviews[1].model_copy(update={"meta": model["meta"] | {"family": "persona"}})
    assert consensus(reviews, 10, min_families=2).steps[0].status == "agreed"


# -- in a configuration ----------------------------------------------------------------------------


def test_a_configuration_votes_as_it_says():
    options = {"partial": False, "min_families": 2, "rates": {"a": [0.9, 0.2]},
               "families": {"a": "x"}}  # fmt: skip
    config = ConsensusConfig.model_validate(options)
    voting = Voting(**config.model_dump(mode="json"))
    assert (voting.partial, voting.min_families) == (False, 2)
    assert voting.final_weights() == pytest.approx({"a": 1.0})
    assert Voting(**ConsensusConfig().model_dump()) == Voting()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rates": {"a": [0.9, 1.2]}}, "less than or equal to 1"),
        ({"rates": "measure"}, "'measured'"),
        ({"min_families": 0}, "greater than or equal to 1"),
        ({"rule": "dawid-skene"}, "'dawid_skene'"),
    ],
)
def test_wrong_options_of_a_configuration(options, message):
    with pytest.raises(ValueError, match=message):
        ConsensusConfig.model_validate(options)


def test_dawid_skene_needs_three_reviewers_before_anything_is_trained():
    data = {"name": "x", "credit": "dca", "consensus": {"rule": "dawid_skene"}}
    two = RunConfig.model_validate(data | {"reviewers": ["gold", "arithmetic"]})
    with pytest.raises(UserError, match="needs 3 or more reviewers, not 2"):
        check_parts(two)
    third = {"kind": "noisy", "inner": "gold", "tpr": 0.9, "fpr": 0.1}
    check_parts(RunConfig.model_validate(data | {"reviewers": ["gold", "arithmetic", third]}))
    check_parts(two.model_copy(update={"credit": {"method": "outcome"}}))
