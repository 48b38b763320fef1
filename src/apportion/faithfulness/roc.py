"""How well a measure tells two policies apart whose use of the chain is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from apportion.stats import RESAMPLES, SEED, Estimate
from apportion.trace import Probe


def auc(higher: Sequence[float], lower: Sequence[float]) -> float:
    """Chance that a value of ``higher`` is above one of ``lower``, ties counted half (the area
    under the ROC curve; Mann and Whitney 1947). Raises ValueError where either is empty."""
    if not len(higher) or not len(lower):
        raise ValueError("an area needs values on both sides")
    a, b = np.asarray(higher, dtype=float)[:, None], np.sort(np.asarray(lower, dtype=float))
    below = np.searchsorted(b, a[:, 0], side="left")
    not_above = np.searchsorted(b, a[:, 0], side="right")
    return float((below + not_above).mean() / (2 * len(b)))


def separation(
    higher: Sequence[Probe], lower: Sequence[Probe], *, resamples: int = RESAMPLES // 4
) -> Estimate | None:
    """AUC over chains of one measure's probes of two policies; the interval resamples each side's
    problems by themselves. Probes without a value are left out; None where a side has none."""
    sides = [_by_problem(higher), _by_problem(lower)]
    if not all(sides):
        return None
    value = auc(*[np.concatenate(side).tolist() for side in sides])
    rng = np.random.default_rng(SEED)
    drawn = []
    for _ in range(resamples):
        picked = [[side[i] for i in rng.integers(0, len(side), len(side))] for side in sides]
        drawn.append(auc(*[np.concatenate(side).tolist() for side in picked]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(value, min(map(len, sides)), float(low), float(high))


def _by_problem(probes: Sequence[Probe]) -> list[np.ndarray]:
    found: dict[str, list[float]] = {}
    for probe in probes:
        if probe.value is not None:
            found.setdefault(probe.problem_id, []).append(probe.value)
    return [np.array(values) for values in found.values()]
