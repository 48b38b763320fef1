"""How well a measure tells two policies apart whose use of the chain is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from apportion.stats import RESAMPLES, SEED, Estimate
from apportion.trace import Probe

_DRAWN = 400


def auc(higher: Sequence[float], lower: Sequence[float]) -> float:
    """Chance that a value of ``higher`` is above one of ``lower``, ties counted half (the area
    under the ROC curve; Mann and Whitney 1947). Raises ValueError where either is empty."""
    if not len(higher) or not len(lower):
        raise ValueError("an area needs values on both sides")
    a, b = np.asarray(higher, dtype=float), np.sort(np.asarray(lower, dtype=float))
    below = np.searchsorted(b, a, side="left")
    not_above = np.searchsorted(b, a, side="right")
    return float((below + not_above).mean() / (2 * len(b)))


def separation(
    higher: Sequence[Probe],
    lower: Sequence[Probe],
    *,
    of: int = 1,
    part: str = "value",
    resamples: int = RESAMPLES // 4,
) -> Estimate | None:
    """AUC of one measure's probes of two policies; the interval resamples each side's problems by
    themselves, ``n`` is the smaller side's number of problems.

    With ``of`` 1 the area is over chains: can a single chain be told? With more, it is over means
    of that many problems drawn at random: can a policy be told by them? ``part`` names a figure
    of the probes to compare in place of their value. Probes without one are left out; None where
    a side has none.
    """
    sides = [_by_problem(probes, part) for probes in (higher, lower)]
    if not all(sides):
        return None
    rng = np.random.default_rng(SEED)
    area = _over_chains if of == 1 else _over_means(of, rng)
    value = area(sides)
    drawn = [
        area([[side[i] for i in rng.integers(0, len(side), len(side))] for side in sides])
        for _ in range(resamples)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(value, min(map(len, sides)), float(low), float(high))


def _over_chains(sides: list[list[np.ndarray]]) -> float:
    return auc(*[np.concatenate(side).tolist() for side in sides])


def _over_means(of: int, rng: np.random.Generator) -> Callable[[list[list[np.ndarray]]], float]:
    def area(sides: list[list[np.ndarray]]) -> float:
        means = [np.array([chains.mean() for chains in side]) for side in sides]
        groups = [m[rng.integers(0, len(m), (_DRAWN, of))].mean(1) for m in means]
        return auc(*[group.tolist() for group in groups])

    return area


def _by_problem(probes: Sequence[Probe], part: str) -> list[np.ndarray]:
    found: dict[str, list[float]] = {}
    for probe in probes:
        value = probe.value if part == "value" else probe.parts.get(part)
        if value is not None:
            found.setdefault(probe.problem_id, []).append(value)
    return [np.array(values) for values in found.values()]
