"""The gradient estimate of TRICE on hand-computed numbers and by enumeration."""

import itertools

import numpy as np
import pytest

from apportion.train.self_training.trice_terms import (
    Term,
    gradient_terms,
    leave_one_out,
    systematic,
)

PRIOR = np.array([0.2, 0.1, 0.4, 0.3])  # p(z | x) of four chains
RIGHT = np.array([True, True, False, False])


def score(chain):
    """∇ log p(chain) of a softmax with respect to its logits."""
    return np.eye(4)[chain] - PRIOR


def estimates(beta):
    """(probability, ĝ) of every draw of a remembered chain and a proposal, at the target."""
    posterior = PRIOR * RIGHT / (PRIOR * RIGHT).sum()
    for old, new in itertools.product(range(4), range(4)):
        probability = posterior[old] * PRIOR[new]
        if probability:
            kept = new if RIGHT[new] else old
            chains = {"memory": kept, "proposal": new}
            terms = gradient_terms([True], [bool(RIGHT[new])], [beta])
            yield probability, sum((t.weight * score(chains[t.chain]) for t in terms), np.zeros(4))


def moments(beta):
    found = list(estimates(beta))
    mean = sum(p * g for p, g in found)
    return mean, sum(p * ((g - mean) ** 2).sum() for p, g in found)


def test_the_expectation_is_the_gradient_of_the_marginal_with_and_without_control_variate():
    # log p(a|x) = log(0.3): its gradient in the logits is posterior − prior.
    exact = np.array([2 / 3, 1 / 3, 0, 0]) - PRIOR
    for beta in (0.0, 0.3, 0.9):
        assert moments(beta)[0] == pytest.approx(exact)


def test_the_control_variate_lowers_the_variance():
    assert moments(0.3)[1] < moments(0.0)[1]


def test_terms_by_hand():
    betas = leave_one_out([True, False, False, True])
    assert betas == pytest.approx([1 / 3, 2 / 3, 2 / 3, 1 / 3])
    terms = gradient_terms([True, True, False, True], [True, False, False, True], betas)
    assert [(t.example, t.chain) for t in terms] == [
        (0, "proposal"),
        (1, "memory"),
        (1, "proposal"),
        (2, "proposal"),
        (3, "proposal"),
    ]
    assert [t.weight for t in terms] == pytest.approx([2 / 3, 1.0, -2 / 3, -2 / 3, 2 / 3])


def test_nothing_is_learned_where_all_is_right_or_nothing_ever_was():
    assert gradient_terms([True] * 3, [True] * 3, leave_one_out([True] * 3)) == []
    assert gradient_terms([False] * 3, [False] * 3, leave_one_out([False] * 3)) == []


def test_systematic_subsampling_keeps_the_expectation():
    terms = [Term(i, "proposal", w) for i, w in enumerate((0.5, -0.2, 0.9, 0.1, -0.3))]
    steps = 2000
    total = np.zeros(5)
    for k in range(steps):
        drawn = systematic(terms, 3, (k + 0.5) / steps)
        assert len(drawn) <= 3
        for term in drawn:
            total[term.example] += term.weight / steps
    assert total == pytest.approx([0.5, -0.2, 0.9, 0.1, -0.3], abs=2e-3)
    assert systematic(terms, 5, 0.7) == terms
