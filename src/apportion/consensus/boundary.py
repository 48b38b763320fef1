"""Where consensus breaks down: agreement of reviewers by domain and by difficulty.

The chains of one problem are not independent, so intervals resample problems. What is counted of
a problem adds up over problems: its coincidence matrix (Krippendorff, Content Analysis, 2004,
chapter 11) and its agreed tokens. So a resample costs one product of matrices.

    _P  problems    _K  labels    _B  resamples
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from apportion.stats import SEED, Estimate
from apportion.trace import LABELS, Consensus, Rollout

# Krippendorff 2004, page 241: below 2/3 not even tentative conclusions can be drawn.
TENTATIVE = 2 / 3
RESAMPLES = 2000
_K = len(LABELS)

Level = str | float
KeyOf = Callable[[Rollout], Level | None]


@dataclass(frozen=True)
class Agreement:
    """Of the rollouts at one level: Krippendorff's alpha of the labels, and the share of agreed
    tokens among those on which at least two votes were cast. None where undefined: nobody judged
    anything twice; alpha also where a single label was given."""

    level: Level
    problems: int
    rollouts: int
    alpha: Estimate | None
    agreed: Estimate | None


@dataclass(frozen=True)
class Boundary:
    """``last`` is the highest level up to which, from the lowest on, alpha is at least the
    threshold (None: not at the lowest), ``first`` the level after it (None: everywhere).
    ``clear``: the interval at ``first`` lies below the threshold entirely."""

    last: Level | None
    first: Level | None
    clear: bool


def agreement_by(
    rollouts: Sequence[Rollout],
    voted: Sequence[Consensus],
    key_of: KeyOf | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> list[Agreement]:
    """Agreement at each level of the key, numbers in their order; without a key over all, at the
    level "all". Rollouts for which the key is None, or without two votes on any step, are left
    out."""
    counts: dict[Level, dict[str, np.ndarray]] = defaultdict(dict)
    numbers: dict[Level, int] = defaultdict(int)
    for rollout, consensus in zip(rollouts, voted, strict=True):
        level = "all" if key_of is None else key_of(rollout)
        found = _count(rollout, consensus)
        if level is None or found is None:
            continue
        of_level, problem = counts[level], rollout.problem.id
        of_level[problem] = of_level.get(problem, 0) + found
        numbers[level] += 1
    found = []
    for level in sorted(counts, key=_order):
        # Sorted, so that the order of the records does not show in the interval.
        counts_P = np.array([counts[level][problem] for problem in sorted(counts[level])])
        found.append(_agreement(level, numbers[level], counts_P, resamples, seed))
    return found


def boundary_of(levels: Sequence[Agreement], threshold: float = TENTATIVE) -> Boundary | None:
    """Where, going up, alpha first falls below the threshold; levels without alpha are passed
    over. None where fewer than two levels, or levels without an order, have one."""
    known = [(a.level, a.alpha) for a in levels if a.alpha is not None]
    if len(known) < 2 or any(isinstance(level, str) for level, _ in known):
        return None
    last: Level | None = None
    for level, alpha in known:
        if alpha.value < threshold:
            return Boundary(last, level, alpha.high is not None and alpha.high < threshold)
        last = level
    return Boundary(last, None, False)


def _order(level: Level) -> tuple[bool, float, str]:
    """Numbers before names."""
    return (True, 0.0, level) if isinstance(level, str) else (False, level, "")


def _count(rollout: Rollout, consensus: Consensus) -> np.ndarray | None:
    """Coincidences (K*K of them), agreed tokens, tokens judged twice; None where there are none."""
    starts = [start for start, _ in rollout.token_spans]
    coincidences_KK = np.zeros((_K, _K))
    agreed = judged = 0
    for step in consensus.steps:
        labels = [LABELS.index(label) for label in step.votes.values() if label is not None]
        if len(labels) < 2:
            continue
        votes_K = np.bincount(labels, minlength=_K).astype(float)
        pairs_KK = np.outer(votes_K, votes_K) - np.diag(votes_K)
        coincidences_KK += pairs_KK / (len(labels) - 1)
        inside = sum(step.start <= start < step.end for start in starts)
        size = inside if starts else step.end - step.start
        judged += size
        agreed += size if step.status == "agreed" else 0
    if not coincidences_KK.any():
        return None
    return np.array([*coincidences_KK.ravel(), agreed, judged])


def _agreement(
    level: Level, rollouts: int, counts_P: np.ndarray, resamples: int, seed: int
) -> Agreement:
    size = len(counts_P)
    rng = np.random.default_rng(seed)
    weights_BP = rng.multinomial(size, np.full(size, 1 / size), size=resamples)
    drawn_B = weights_BP @ counts_P
    whole = counts_P.sum(axis=0, keepdims=True)
    return Agreement(
        level,
        size,
        rollouts,
        _estimate(_alpha(whole), _alpha(drawn_B), size),
        _estimate(_share(whole), _share(drawn_B), size),
    )


def _alpha(counts_B: np.ndarray) -> np.ndarray:
    """alpha = 1 - (n - 1) D / E with D the coincidences off the diagonal and E the sum of
    n_c n_k over different labels; nan where E is 0. Shape (B,)."""
    coincidences_BKK = counts_B[:, : _K * _K].reshape(-1, _K, _K)
    of_label_BK = coincidences_BKK.sum(axis=2)
    total_B = of_label_BK.sum(axis=1)
    observed_B = total_B - np.trace(coincidences_BKK, axis1=1, axis2=2)
    expected_B = total_B**2 - (of_label_BK**2).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected_B > 1e-9, 1 - (total_B - 1) * observed_B / expected_B, np.nan)


def _share(counts_B: np.ndarray) -> np.ndarray:
    """Agreed tokens over those judged twice; nan for none."""
    agreed_B, judged_B = counts_B[:, -2], counts_B[:, -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(judged_B > 0, agreed_B / judged_B, np.nan)


def _estimate(value: np.ndarray, drawn_B: np.ndarray, problems: int) -> Estimate | None:
    """With a percentile interval over the resamples in which it is defined, if most are."""
    if np.isnan(value[0]):
        return None
    defined = drawn_B[~np.isnan(drawn_B)]
    if problems < 2 or len(defined) < len(drawn_B) / 2:
        return Estimate(float(value[0]), problems)
    low, high = np.percentile(defined, [2.5, 97.5])
    return Estimate(float(value[0]), problems, float(low), float(high))
