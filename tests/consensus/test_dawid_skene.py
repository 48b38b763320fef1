"""Error rates learned from votes alone, against simulated reviewers whose rates are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion import Review, Step, StepVerdict, UserError
from apportion.consensus import Case, consensus_of_many, dawid_skene

LABELS = ("useful", "irrelevant", "harmful")
FRACTIONS = (0.6, 0.25, 0.15)


def confusion(accuracy, lean=0):
    """Rows sum to 1; errors lean to class ``lean`` (3 parts of 4) instead of being even."""
    matrix = np.empty((3, 3))
    for k in range(3):
        others = [c for c in range(3) if c != k]
        share = [0.75 if c == lean else 0.25 for c in others]
        share = share if lean in others else [0.5, 0.5]
        matrix[k, k] = accuracy
        matrix[k, others] = (1 - accuracy) * np.array(share)
    return matrix


def simulate(matrices, items, seed=0, missing=0.0):
    """Votes of independent reviewers: truth_I and the arrays item_V, reviewer_V, label_V."""
    rng = np.random.default_rng(seed)
    truth_I = rng.choice(3, size=items, p=FRACTIONS)
    said_RI = np.array([[rng.choice(3, p=m[k]) for k in truth_I] for m in matrices])
    votes = [(i, r) for i in range(items) for r in range(len(matrices)) if rng.random() >= missing]
    item_V, reviewer_V = np.array(votes).T
    return truth_I, item_V, reviewer_V, said_RI[reviewer_V, item_V]


def majority(item_V, label_V, items):
    counts_IK = np.zeros((items, 3))
    np.add.at(counts_IK, (item_V, label_V), 1)
    return counts_IK


def fit(votes, items, reviewers, **options):
    _, item_V, reviewer_V, label_V = votes
    return dawid_skene(
        item_V, reviewer_V, label_V, items=items, reviewers=reviewers, classes=3, **options
    )


def test_recovers_known_confusion_matrices_also_with_missing_votes():
    matrices = [confusion(0.9, 0), confusion(0.75, 2), confusion(0.6, 1), confusion(0.8)]
    found = fit(simulate(matrices, 3000, missing=0.3), 3000, 4)
    assert found.converged
    # A row of 450 harmful items seen by 70 %: a standard error of at most 0.03.
    assert np.abs(found.confusion_RKL - matrices).max() < 0.08
    assert np.abs(found.prior_K - FRACTIONS).max() < 0.03
    assert found.confusion_RKL.sum(axis=2) == pytest.approx(1)


def test_beats_majority_where_reviewers_differ_and_names_are_not_switched():
    matrices = [confusion(0.95), confusion(0.9), *[confusion(0.45, 0)] * 3]
    votes = simulate(matrices, 1500)
    truth_I, item_V, _, label_V = votes
    found = fit(votes, 1500, 5)
    learned = (found.posterior_IK.argmax(axis=1) == truth_I).mean()
    counted = (majority(item_V, label_V, 1500).argmax(axis=1) == truth_I).mean()
    assert learned > counted + 0.05
    assert learned > 0.93
    # Switched names would put the largest entries off the diagonal.
    assert (found.confusion_RKL[:2].argmax(axis=2) == np.arange(3)).all()


def test_equals_the_majority_for_equal_reviewers():
    votes = simulate([confusion(0.8)] * 5, 400, seed=3)
    _, item_V, _, label_V = votes
    found = fit(votes, 400, 5)
    counts_IK = majority(item_V, label_V, 400)
    clear = (counts_IK == counts_IK.max(axis=1, keepdims=True)).sum(axis=1) == 1
    strict = clear & (counts_IK.max(axis=1) >= 3)
    assert strict.sum() > 350
    same = found.posterior_IK.argmax(axis=1) == counts_IK.argmax(axis=1)
    assert same[strict].mean() > 0.99


def test_by_hand_two_votes_one_item():
    # One item, three reviewers, all say class 0; smoothing 2 with 0.7 on the diagonal.
    # EM starts at posterior (1, 0): prior = (1 + 1, 1) / 3, row 0 of each matrix
    # (1 + 1.4, 0.6) / 3 = (0.8, 0.2), row 1 its prior (0.3, 0.7). Posterior odds after one step:
    # 2/3 * 0.8^3 : 1/3 * 0.3^3 = 0.3413 : 0.009.
    item_V, reviewer_V, label_V = np.array([0, 0, 0]), np.array([0, 1, 2]), np.array([0, 0, 0])
    one = dawid_skene(
        item_V, reviewer_V, label_V, items=1, reviewers=3, classes=2, max_iterations=1
    )
    assert one.confusion_RKL[0] == pytest.approx(np.array([[0.8, 0.2], [0.3, 0.7]]))
    assert one.posterior_IK[0, 0] == pytest.approx(0.341333 / (0.341333 + 0.009), abs=1e-5)
    assert not one.converged


def test_weight_zero_silences_and_unvoted_items_get_the_frequencies():
    matrices = [confusion(0.9), confusion(0.85), confusion(0.8), confusion(0.1)]
    votes = simulate(matrices, 500)
    silent = fit(votes, 501, 4, weight_R=np.array([1, 1, 1, 0]))
    _, item_V, reviewer_V, label_V = votes
    kept = reviewer_V < 3
    without = dawid_skene(
        item_V[kept], reviewer_V[kept], label_V[kept], items=501, reviewers=3, classes=3
    )
    assert silent.posterior_IK == pytest.approx(without.posterior_IK, abs=1e-4)
    assert silent.posterior_IK[500] == pytest.approx(silent.prior_K)


@pytest.mark.parametrize(
    ("labels", "smoothing", "message"),
    [([0, 3], 2.0, "labels must be 0 to 2"), ([0, 1], 0.0, "smoothing 0.0 is not above 0")],
)
def test_refusals(labels, smoothing, message):
    with pytest.raises(ValueError, match=message):
        dawid_skene(
            np.array([0, 0]), np.array([0, 1]), np.array(labels),
            items=1, reviewers=2, classes=3, smoothing=smoothing,
        )  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(3, 5))
def test_bounds_and_order_of_votes(seed, items, reviewers):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, items * reviewers + 1))
    item_V = rng.integers(0, items, size)
    reviewer_V = rng.integers(0, reviewers, size)
    label_V = rng.integers(0, 3, size)
    order = rng.permutation(size)
    names = rng.permutation(reviewers)
    options = {"items": items, "reviewers": reviewers, "classes": 3, "max_iterations": 20}
    one = dawid_skene(item_V, reviewer_V, label_V, **options)
    two = dawid_skene(item_V[order], names[reviewer_V][order], label_V[order], **options)
    assert one.posterior_IK.sum(axis=1) == pytest.approx(1)
    assert (one.posterior_IK >= 0).all() and (one.confusion_RKL > 0).all()
    assert two.posterior_IK == pytest.approx(one.posterior_IK, abs=1e-6)
    assert two.confusion_RKL[names] == pytest.approx(one.confusion_RKL, abs=1e-6)


# -- as a rule of the vote -------------------------------------------------------------------------


def chains(matrices, rollouts, seed=0, fail=()):
    """Rollouts of 4 steps of 5 characters; reviewer 0 joins steps two by two in even rollouts."""
    rng = np.random.default_rng(seed)
    cases, truths = [], []
    for n in range(rollouts):
        truth_S = rng.choice(3, size=2, p=FRACTIONS).repeat(2)
        truths.append(truth_S)
        reviews = []
        for r, matrix in enumerate(matrices):
            coarse = r == 0 and n % 2 == 0
            cut = [(0, 10), (10, 20)] if coarse else [(i, i + 5) for i in range(0, 20, 5)]
            said = [LABELS[rng.choice(3, p=matrix[truth_S[a // 5]])] for a, _ in cut]
            verdicts = tuple(StepVerdict(label=label) for label in said)
            error = "down" if r in fail else None
            steps = () if error else tuple(Step(*c) for c in cut)
            reviews.append(
                Review(rollout_id=f"r{n}", reviewer=f"R{r}", steps=steps,
                       verdicts=() if error else verdicts, error=error)
            )  # fmt: skip
        cases.append(Case(f"r{n}", reviews, 20))
    return cases, truths


def share_right(results, truths):
    return np.mean([
        s.label == LABELS[t] for c, ts in zip(results, truths, strict=True)
        for s, t in zip(c.steps, ts, strict=True)
    ])  # fmt: skip


def test_many_rollouts_together_on_the_common_refinement_beat_the_majority():
    matrices = [confusion(0.95), confusion(0.9), *[confusion(0.4, 1)] * 3]
    cases, truths = chains(matrices, 150)
    learned = consensus_of_many(cases, rule="dawid_skene")
    counted = consensus_of_many(cases)
    assert [len(c.steps) for c in learned] == [4] * 150
    assert {c.rule for c in learned} == {"dawid_skene"}
    assert share_right(learned, truths) > share_right(counted, truths) + 0.1
    sure = [s for c in learned for s in c.steps if s.status == "agreed"]
    assert all(s.agreement >= 0.66 for s in sure) and len(sure) > 400
    assert all(s.wrong == (s.label == "harmful") for s in sure)
    assert set(learned[0].steps[0].votes) == {f"R{r}" for r in range(5)}


def test_two_reviewers_are_refused_and_two_that_are_left_vote_by_majority():
    matrices = [confusion(0.9)] * 3
    cases, _ = chains(matrices, 5)
    pairs = [case._replace(reviews=case.reviews[:2]) for case in cases]
    with pytest.raises(UserError, match=r"needs 3 or more reviewers, not 2 \(R0, R1\)"):
        consensus_of_many(pairs, rule="dawid_skene")
    left, _ = chains(matrices, 5, fail=(1,))
    fallen = consensus_of_many(left, rule="dawid_skene")
    assert fallen[0].rule == "majority: fewer than 3 reviews succeeded"
    assert [c.steps for c in fallen] == [c.steps for c in consensus_of_many(left)]
    assert fallen[0].failed_reviews == 1
