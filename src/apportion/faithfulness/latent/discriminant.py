"""A linear probe in closed form: discriminant analysis with one covariance for all classes.

_N examples   _F features   _C classes
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# How much of the covariance is replaced by its mean variance; chosen on held-out examples.
SHRINKAGES = (0.01, 0.1, 0.5)
_HELD_OUT = 5


class Discriminant(NamedTuple):
    """Reads the class of largest x·w_c + b_c. ``classes`` are those that were seen."""

    weights_FC: np.ndarray
    bias_C: np.ndarray
    classes: np.ndarray

    def read(self, features_NF: np.ndarray) -> np.ndarray:
        """(N,) labels."""
        return self.classes[(features_NF @ self.weights_FC + self.bias_C).argmax(-1)]


def fit(features_NF: np.ndarray, labels: Sequence[str]) -> Discriminant:
    """Fitted to all examples, with the shrinkage that reads every fifth one best when it is fitted
    to the others.

    Linear discriminant analysis (Fisher 1936; Hastie et al. 2009, section 4.3) with the covariance
    (1 − s)·S + s·tr(S)/F·I.
    """
    labels_N = np.asarray(labels)
    apart_N = np.arange(len(labels_N)) % _HELD_OUT == 0

    def held_out(shrinkage: float) -> float:
        probe = _fit(features_NF[~apart_N], labels_N[~apart_N], shrinkage)
        return float((probe.read(features_NF[apart_N]) == labels_N[apart_N]).mean())

    enough = 0 < apart_N.sum() < len(labels_N)
    best = max(SHRINKAGES, key=held_out) if enough else SHRINKAGES[-1]
    return _fit(features_NF, labels_N, best)


def _fit(features_NF: np.ndarray, labels_N: np.ndarray, shrinkage: float) -> Discriminant:
    x_NF = features_NF.astype(np.float64)
    classes, place_N, counts_C = np.unique(labels_N, return_inverse=True, return_counts=True)
    means_CF = np.zeros((len(classes), x_NF.shape[1]))
    np.add.at(means_CF, place_N, x_NF)
    means_CF /= counts_C[:, None]
    within_NF = x_NF - means_CF[place_N]
    spread_FF = within_NF.T @ within_NF / len(x_NF)
    even = max(float(np.trace(spread_FF)) / len(spread_FF), 1e-12)
    spread_FF = (1 - shrinkage) * spread_FF + shrinkage * even * np.eye(len(spread_FF))
    weights_FC = np.linalg.solve(spread_FF, means_CF.T)
    bias_C = np.log(counts_C / counts_C.sum()) - 0.5 * (means_CF.T * weights_FC).sum(0)
    return Discriminant(weights_FC, bias_C, classes)
