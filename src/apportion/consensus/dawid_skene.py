"""Each reviewer's error rates, learned from all votes without knowing the truth.

Dawid and Skene 1979 (Applied Statistics 28): the true label of item i is hidden, reviewer r says l
where the truth is k with probability pi_r[k, l], independently of the others given the truth. EM
alternates between the posterior of the truths and the rates. Here with Dirichlet priors (MAP), so
that a reviewer of few votes is neither perfect nor hopeless.

Renaming the classes changes nothing in the likelihood (label switching). Two things hold the names
in place: EM starts from the weighted shares of the votes, the majority, and the prior of every
confusion matrix leans to the diagonal. Fewer than three reviewers do not identify the model at
all (with two, only how often they agree is known), and reviewers that share their mistakes violate
its independence: they count as more evidence than they are.

    _I  items    _V  votes    _R  reviewers    _K  true classes    _L  labels
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MIN_REVIEWERS = 3
DIAGONAL = 0.7


@dataclass(frozen=True)
class Fit:
    """``posterior_IK`` of the truths, ``confusion_RKL`` (rows sum to 1), ``prior_K`` of the
    classes, and whether EM came to rest within ``iterations``."""

    posterior_IK: np.ndarray
    confusion_RKL: np.ndarray
    prior_K: np.ndarray
    iterations: int
    converged: bool


def dawid_skene(
    item_V: np.ndarray,
    reviewer_V: np.ndarray,
    label_V: np.ndarray,
    *,
    items: int,
    reviewers: int,
    classes: int,
    weight_R: np.ndarray | None = None,
    smoothing: float = 2.0,
    max_iterations: int = 200,
    tolerance: float = 1e-6,
) -> Fit:
    """Fit the model to votes: vote v says that item ``item_V[v]`` is ``label_V[v]``.

    ``smoothing`` is how many votes per true class the prior of a confusion matrix is worth, and
    how many items the prior of the class frequencies is. ``weight_R`` raises a reviewer's
    likelihood to a power: 0 silences it. An item without votes gets the class frequencies.
    Raises ValueError for labels outside [0, classes) or smoothing that is not above 0.
    """
    if len(label_V) and (label_V.min() < 0 or label_V.max() >= classes):
        raise ValueError(f"labels must be 0 to {classes - 1}")
    if smoothing <= 0:
        raise ValueError(f"smoothing {smoothing} is not above 0")
    weight_R = np.ones(reviewers) if weight_R is None else np.asarray(weight_R, dtype=float)
    lean_KL = np.full((classes, classes), (1 - DIAGONAL) / max(1, classes - 1))
    np.fill_diagonal(lean_KL, DIAGONAL)
    posterior_IK = _shares(item_V, label_V, weight_R[reviewer_V], items, classes)
    prior_K, confusion_RKL = np.full(classes, 1 / classes), np.tile(lean_KL, (reviewers, 1, 1))
    converged, iteration = items == 0, 0
    while iteration < max_iterations and not converged:
        prior_K, confusion_RKL = _rates(
            posterior_IK, item_V, reviewer_V, label_V, reviewers, smoothing, lean_KL
        )
        before_IK = posterior_IK
        posterior_IK = _truths(prior_K, confusion_RKL, item_V, reviewer_V, label_V, weight_R, items)
        converged = bool(np.abs(posterior_IK - before_IK).max() < tolerance)
        iteration += 1
    return Fit(posterior_IK, confusion_RKL, prior_K, iteration, converged)


def _shares(
    item_V: np.ndarray, label_V: np.ndarray, weight_V: np.ndarray, items: int, classes: int
) -> np.ndarray:
    """Where EM starts: each item's share of the weight cast for each label, (I, K)."""
    votes_IK = np.zeros((items, classes))
    np.add.at(votes_IK, (item_V, label_V), weight_V)
    cast_I = votes_IK.sum(axis=1, keepdims=True)
    return np.where(cast_I > 0, votes_IK / np.where(cast_I > 0, cast_I, 1), 1 / classes)


def _rates(
    posterior_IK: np.ndarray,
    item_V: np.ndarray,
    reviewer_V: np.ndarray,
    label_V: np.ndarray,
    reviewers: int,
    smoothing: float,
    lean_KL: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """M step: class frequencies over the items that were voted on, and confusion matrices."""
    classes = posterior_IK.shape[1]
    voted_I = np.bincount(item_V, minlength=len(posterior_IK)) > 0
    counts_K = posterior_IK[voted_I].sum(axis=0) + smoothing / classes
    counts_RLK = np.zeros((reviewers, classes, classes))
    np.add.at(counts_RLK, (reviewer_V, label_V), posterior_IK[item_V])
    confusion_RKL = counts_RLK.transpose(0, 2, 1) + smoothing * lean_KL
    return counts_K / counts_K.sum(), confusion_RKL / confusion_RKL.sum(axis=2, keepdims=True)


def _truths(
    prior_K: np.ndarray,
    confusion_RKL: np.ndarray,
    item_V: np.ndarray,
    reviewer_V: np.ndarray,
    label_V: np.ndarray,
    weight_R: np.ndarray,
    items: int,
) -> np.ndarray:
    """E step: posterior of each item's truth, (I, K)."""
    log_IK = np.tile(np.log(prior_K), (items, 1))
    said_VK = np.log(confusion_RKL).transpose(0, 2, 1)[reviewer_V, label_V]
    np.add.at(log_IK, item_V, weight_R[reviewer_V, None] * said_VK)
    log_IK -= log_IK.max(axis=1, keepdims=True)
    posterior_IK = np.exp(log_IK)
    return posterior_IK / posterior_IK.sum(axis=1, keepdims=True)
