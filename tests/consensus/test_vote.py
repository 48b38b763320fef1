import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion import Review, Step, StepVerdict, UserError
from apportion.consensus import RULES, consensus, krippendorff_alpha

WRONG = StepVerdict(label="harmful", correct=False, focus=(6, 8))
RIGHT = StepVerdict(label="useful", correct=True)
IDLE = StepVerdict(label="irrelevant", correct=True)
ABSTAIN = StepVerdict()


def review(name, *verdicts, cut=((0, 5), (5, 10)), critique=0, error=None):
    steps = () if error else tuple(Step(*c) for c in cut)
    return Review(
        rollout_id="r",
        reviewer=name,
        steps=steps,
        verdicts=verdicts,
        critique=critique,
        error=error,
    )


def wrongs(reviews, rule, **options):
    return [step.wrong for step in consensus(reviews, 10, rule=rule, **options).steps]


def test_rules_by_hand():
    reviews = [review("a", RIGHT, WRONG), review("b", WRONG, WRONG), review("c", RIGHT, WRONG)]
    assert wrongs(reviews, "union") == [1, 1]
    assert wrongs(reviews, "intersection") == [0, 1]
    assert wrongs(reviews, "majority") == [0, 1]
    assert wrongs(reviews, "average") == [pytest.approx(1 / 3), 1]


def test_ties_are_wrong_under_majority_and_disputed():
    step = consensus([review("a", RIGHT, RIGHT), review("b", WRONG, RIGHT)], 10).steps[0]
    assert (step.wrong, step.status, step.label) == (1.0, "disputed", "harmful")


def test_greedy_takes_the_first_critique_of_each_reviewer():
    critiques = [review("a", RIGHT, RIGHT), review("a", WRONG, WRONG, critique=1)]
    assert wrongs(critiques, "greedy") == [0, 0]
    assert wrongs(critiques, "union") == [1, 1]
    votes = consensus(critiques, 10).steps[0].votes
    assert votes == {"a#0": "useful", "a#1": "harmful"}


def test_different_cuts_are_voted_on_their_common_refinement():
    fine = review("a", RIGHT, WRONG, IDLE, cut=((0, 4), (4, 6), (6, 10)))
    coarse = review("b", RIGHT, WRONG, cut=((0, 5), (5, 10)))
    steps = consensus([fine, coarse], 10).steps
    assert [(s.start, s.end) for s in steps] == [(0, 4), (4, 5), (5, 6), (6, 10)]
    assert [s.status for s in steps] == ["agreed", "disputed", "agreed", "disputed"]
    assert [s.label for s in steps] == ["useful", "harmful", "harmful", "harmful"]


def test_failed_reviews_and_abstentions_do_not_vote():
    reviews = [review("a", RIGHT, ABSTAIN), review("b", error="timeout")]
    result = consensus(reviews, 10)
    assert (result.valid_reviews, result.failed_reviews) == (1, 1)
    assert [s.status for s in result.steps] == ["agreed", "unreviewed"]
    assert consensus([review("b", error="x")], 10).steps == ()


def test_minimum_of_valid_reviews():
    reviews = [review("a", RIGHT, RIGHT), review("b", RIGHT, ABSTAIN)]
    statuses = [s.status for s in consensus(reviews, 10, min_reviews=2).steps]
    assert statuses == ["agreed", "unreviewed"]


def test_weights_decide_and_zero_weight_silences():
    reviews = [review("a", RIGHT, RIGHT), review("b", WRONG, RIGHT)]
    heavy = consensus(reviews, 10, weights={"a": 3.0}).steps[0]
    assert (heavy.label, heavy.wrong, heavy.agreement, heavy.status) == (
        "useful",
        0.0,
        0.75,
        "agreed",
    )
    silent = consensus(reviews, 10, weights={"b": 0.0}).steps[0]
    assert (silent.label, silent.agreement) == ("useful", 1.0)


def test_quorum_is_the_border_between_agreed_and_disputed():
    reviews = [review("a", RIGHT, RIGHT), review("b", RIGHT, RIGHT), review("c", WRONG, RIGHT)]
    assert consensus(reviews, 10, quorum=0.66).steps[0].status == "agreed"
    assert consensus(reviews, 10, quorum=0.7).steps[0].status == "disputed"


def test_dependencies_need_most_of_the_weight():
    linked = StepVerdict(label="useful", depends_on=(0,))
    both = consensus([review("a", RIGHT, linked), review("b", RIGHT, linked)], 10)
    assert both.steps[1].depends_on == (0,)
    half = consensus([review("a", RIGHT, linked), review("b", RIGHT, RIGHT)], 10)
    assert half.steps[1].depends_on == ()


def test_focus_is_clipped_to_the_span():
    fine = review("a", RIGHT, WRONG, cut=((0, 5), (5, 10)))
    other = review("b", RIGHT, RIGHT, RIGHT, cut=((0, 5), (5, 7), (7, 10)))
    steps = consensus([fine, other], 10, rule="union").steps
    assert [s.focus for s in steps] == [None, (6, 7), (7, 8)]


def test_unknown_rule():
    with pytest.raises(UserError, match="did you mean 'majority'"):
        consensus([], 0, rule="majorty")


verdicts = st.sampled_from([WRONG, RIGHT, IDLE, ABSTAIN])


@settings(deadline=None)
@given(st.lists(st.tuples(verdicts, verdicts), min_size=1, max_size=5), st.randoms())
def test_order_of_reviewers_does_not_matter(rows, random):
    reviews = [review(f"r{i}", *row) for i, row in enumerate(rows)]
    shuffled = random.sample(reviews, len(reviews))
    rules = [rule for rule in RULES if rule != "dawid_skene" or len(rows) > 2]
    for rule in rules:
        one, two = (consensus(r, 10, rule=rule).steps for r in (reviews, shuffled))
        for a, b in zip(one, two, strict=True):
            assert (a.label, a.status, a.wrong) == (b.label, b.status, b.wrong)
            assert a.votes == b.votes


def test_alpha_of_agreement_chance_and_too_little():
    same = [consensus([review("a", RIGHT, WRONG), review("b", RIGHT, WRONG)], 10)]
    assert krippendorff_alpha(same) == pytest.approx(1.0)
    # Two raters, four units: useful/useful, useful/harmful, harmful/useful, harmful/harmful.
    # Coincidences: 2 same pairs of each kind, 4 mixed; alpha = 1 - 7 * 4 / (2 * 4 * 4) = 0.125
    cross = [
        consensus([review("a", RIGHT, RIGHT), review("b", RIGHT, WRONG)], 10),
        consensus([review("a", WRONG, WRONG), review("b", RIGHT, WRONG)], 10),
    ]
    assert krippendorff_alpha(cross) == pytest.approx(0.125)
    assert krippendorff_alpha([consensus([review("a", RIGHT, WRONG)], 10)]) is None
