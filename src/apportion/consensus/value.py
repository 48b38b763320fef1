"""What a reviewer is worth: the posterior of what a policy gains under it, beyond the others.

Gains shrink as a policy learns, so only those of the same time can be compared. A value is a gain
minus the mean gain of its time. Values have a normal posterior: prior N(0, prior_sd^2), and
observations with the larger of two variances, that of the measurement, and that of one reviewer's
values from time to time, pooled over the reviewers (two-way analysis of variance without
interaction) and held at the measurement's as if by ``HELD`` further degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

HELD = 2.0


class Observation(NamedTuple):
    """The gain of a block that one reviewer gave the credit of, its standard error, and the time
    (a cycle of blocks) within which it can be compared."""

    name: str
    gain: float
    error: float
    time: int = 0


@dataclass(frozen=True)
class Value:
    """Posterior of a reviewer's gain per block beyond the others', from ``blocks`` of its own."""

    mean: float
    sd: float
    blocks: int

    @property
    def low(self) -> float:
        return self.mean - 1.96 * self.sd

    @property
    def high(self) -> float:
        return self.mean + 1.96 * self.sd

    @property
    def above_mean(self) -> float:
        """Probability that it is worth more than the mean of all."""
        return _normal_cdf(self.mean / self.sd)

    def __str__(self) -> str:
        of = f"{self.blocks} block{'' if self.blocks == 1 else 's'}"
        return f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}] a block, {of}"


def values_of(
    observed: Sequence[Observation], names: Sequence[str], *, prior_sd: float
) -> dict[str, Value]:
    """The posterior of each name; that of a name without observations is the prior.

    Raises ValueError for a ``prior_sd`` that is not above 0.
    """
    if prior_sd <= 0:
        raise ValueError(f"prior_sd {prior_sd} is not above 0")
    centred = _centred(observed)
    spread = _spread(centred, len({seen.time for seen in observed}))
    found = {}
    for name in names:
        precision, total = 1 / prior_sd**2, 0.0
        for value, error in centred.get(name, ()):
            weight = 1 / max(error**2, spread, 1e-12)
            precision += weight
            total += weight * value
        blocks = len(centred.get(name, ()))
        found[name] = Value(total / precision, 1 / math.sqrt(precision), blocks)
    return found


def better(one: Value, other: Value) -> float:
    """Probability that the first is worth more, taking the posteriors as independent."""
    return _normal_cdf((one.mean - other.mean) / math.hypot(one.sd, other.sd))


def _centred(observed: Sequence[Observation]) -> dict[str, list[tuple[float, float]]]:
    """(gain - mean gain of its time, error) by name."""
    times: dict[int, list[float]] = {}
    for seen in observed:
        times.setdefault(seen.time, []).append(seen.gain)
    middle = {time: math.fsum(gains) / len(gains) for time, gains in times.items()}
    centred: dict[str, list[tuple[float, float]]] = {}
    for seen in observed:
        centred.setdefault(seen.name, []).append((seen.gain - middle[seen.time], seen.error))
    return centred


def _spread(centred: Mapping[str, Sequence[tuple[float, float]]], times: int) -> float:
    """Pooled variance of one reviewer's values from time to time."""
    count = sum(len(values) for values in centred.values())
    if count == 0:
        return 0.0
    measured = math.fsum(e**2 for values in centred.values() for _, e in values) / count
    squares = 0.0
    for name in sorted(centred):
        values = [value for value, _ in centred[name]]
        middle = math.fsum(values) / len(values)
        squares += math.fsum((value - middle) ** 2 for value in values)
    freedom = max(0, count - len(centred) - times + 1)
    return (squares + HELD * measured) / (freedom + HELD)


def _normal_cdf(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))
