"""Agreement by level, against hand-computed numbers and the package krippendorff."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion import Problem, Rollout, UserError
from apportion.consensus import consensus, krippendorff_alpha
from apportion.consensus.boundary import TENTATIVE, Boundary, agreement_by, boundary_of
from apportion.consensus.levels import key_by, usual_keys
from tests.consensus.test_vote import ABSTAIN, IDLE, RIGHT, WRONG, review


def chain(number, *rows, problem=None, tokens=True, **meta):
    """A rollout of 10 characters in two steps (3 tokens and 1 token), and its consensus."""
    name = problem or f"p{number}"
    spans = ((0, 1), (1, 2), (2, 5), (5, 10)) if tokens else ()
    rollout = Rollout(
        id=f"r{number}",
        problem=Problem(id=name, prompt="?", meta=meta),
        text="0123456789",
        token_ids=tuple(range(len(spans))),
        token_spans=spans,
        reasoning_end=10,
    )
    reviews = [review(f"R{i}", *row) for i, row in enumerate(rows)]
    return rollout, consensus(reviews, 10, rollout_id=rollout.id)


def by(chains, key=None, **options):
    rollouts, voted = zip(*chains, strict=True)
    return agreement_by(rollouts, voted, key_by(key, rollouts) if key else None, **options)


CROSS = [
    chain(0, (RIGHT, RIGHT), (RIGHT, WRONG)),
    chain(1, (WRONG, WRONG), (RIGHT, WRONG)),
]


def test_alpha_and_share_by_hand():
    # As in test_vote: units useful/useful, useful/harmful, harmful/useful, harmful/harmful.
    (all_of_it,) = by(CROSS)
    assert (all_of_it.level, all_of_it.problems, all_of_it.rollouts) == ("all", 2, 2)
    assert all_of_it.alpha.value == pytest.approx(0.125)
    # Agreed are the first step of r0 (3 tokens) and the second of r1 (1 token), of 8.
    assert all_of_it.agreed.value == pytest.approx(4 / 8)
    assert all_of_it.alpha.low <= 0.125 <= all_of_it.alpha.high


def test_without_tokens_characters_count():
    (of_text,) = by([chain(0, (RIGHT, RIGHT), (RIGHT, WRONG), tokens=False)])
    assert of_text.agreed.value == pytest.approx(5 / 10)
    assert of_text.alpha.low is None  # one problem has no interval


verdict = st.sampled_from([RIGHT, WRONG, IDLE, ABSTAIN])
rows = st.lists(st.tuples(verdict, verdict), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(st.lists(rows, min_size=1, max_size=8), st.randoms())
def test_alpha_is_that_of_the_package_and_the_order_does_not_matter(many, random):
    chains = [chain(i, *of_one) for i, of_one in enumerate(many)]
    expected = krippendorff_alpha([voted for _, voted in chains])
    found = by(chains, resamples=50)
    if not found:
        assert expected is None
        return
    (one,) = found
    assert (one.alpha is None) == (expected is None)
    if one.alpha is not None:
        assert one.alpha.value == pytest.approx(expected, abs=1e-9)
        assert one.alpha.value <= 1 + 1e-12
    assert 0 <= one.agreed.value <= 1
    (mixed,) = by(random.sample(chains, len(chains)), resamples=50)
    assert mixed == one


def test_intervals_resample_problems_not_chains():
    rng = np.random.default_rng(0)
    flips = rng.random(40) < 0.5
    apart = [
        chain(i, (RIGHT, WRONG), (RIGHT, RIGHT if flip else WRONG)) for i, flip in enumerate(flips)
    ]
    # The same chains, each written four times: four times as many chains, no more problems.
    repeated = [
        (r.model_copy(update={"id": f"{r.id}-{k}"}), voted) for r, voted in apart for k in range(4)
    ]
    (one,), (four,) = by(apart), by(repeated)
    assert (four.problems, four.rollouts) == (40, 160)
    assert four.agreed == one.agreed
    # Wald: half a step of 4 tokens, 3 of them always agreed; sd of a share / sqrt(40).
    assert one.agreed.high - one.agreed.low == pytest.approx(2 * 1.96 * 0.125 / 40**0.5, rel=0.2)


def test_levels_are_ordered_and_the_boundary_is_where_alpha_falls():
    same = ((RIGHT, WRONG), (RIGHT, WRONG))
    apart = ((RIGHT, WRONG), (WRONG, RIGHT))
    chains = [chain(i, *(same if i % 5 < 4 or i < 20 else apart), operations=2) for i in range(25)]
    chains += [chain(100 + i, *same, operations=1) for i in range(10)]
    chains += [chain(200 + i, *(apart if i % 2 else same), operations=10) for i in range(20)]
    levels = by(chains, "operations")
    assert [a.level for a in levels] == [1, 2, 10]
    assert levels[0].alpha.value == 1.0
    assert boundary_of(levels) == Boundary(2, 10, clear=True)
    assert boundary_of(levels[:2]) == Boundary(2, None, clear=False)
    assert boundary_of(levels[1:], threshold=0.99).last is None
    assert boundary_of(levels[:1]) is None
    assert pytest.approx(0.6667, abs=1e-4) == TENTATIVE


def test_names_have_no_boundary_and_unjudged_chains_do_not_count():
    chains = [chain(i, (RIGHT, WRONG), (RIGHT, WRONG), domain=d) for i, d in enumerate("abab")]
    chains += [chain(9, (RIGHT, WRONG), domain="c"), chain(10, (RIGHT, WRONG), (RIGHT, WRONG))]
    levels = by(chains, "domain")
    assert [(a.level, a.rollouts) for a in levels] == [("a", 2), ("b", 2)]
    assert boundary_of(levels) is None


# -- keys ------------------------------------------------------------------------------------------


def keyed(*values, name="x", ids=None):
    found = []
    for i, value in enumerate(values):
        meta = {} if value is None else {name: value}
        found.append(chain(i, (RIGHT, WRONG), problem=ids[i] if ids else None, **meta)[0])
    return found


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ((3, 1, 2.5, None), [3.0, 1.0, 2.5, None]),
        ((["a", "b"], [], ["a"]), [2.0, 0.0, 1.0]),
        (("hard", 3, True), ["hard", "3.0", "true"]),
        (tuple(range(12)), [1.0] * 3 + [4.0] * 3 + [7.0] * 3 + [10.0] * 3),
    ],
)
def test_levels_of_values(values, levels):
    rollouts = keyed(*values)
    key_of = key_by("x", rollouts)
    assert [key_of(rollout) for rollout in rollouts] == levels


def test_the_task_is_read_from_the_problem():
    ids = ["words-test-0-1", "gym-chain_sum-validation-3-4", "mine"]
    rollouts = keyed(1, 2, 3, ids=ids)
    key_of = key_by("task", rollouts)
    assert [key_of(r) for r in rollouts] == ["words", "gym-chain_sum", None]
    assert usual_keys(rollouts) == ["task"]
    assert usual_keys(keyed(2, 2, 5, name="operations")) == ["operations"]
    assert usual_keys(keyed(2, 2, name="operations")) == []


def test_keys_that_are_none():
    with pytest.raises(UserError, match=r"no trace has 'operation' .*did you mean 'operations'"):
        key_by("operation", keyed(1, 2, name="operations"))
    with pytest.raises(UserError, match="'x' has 60 different values, too many"):
        key_by("x", keyed(*(f"v{i}" for i in range(60))))
