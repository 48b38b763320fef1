"""Is the helper still worth following? Its distance from the policy, and whether it is gamed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Protocol

import numpy as np


class HelperAlarmOptions(Protocol):
    """What the alarm needs of ``config.HelperConfig``."""

    @property
    def kl_limit(self) -> float: ...
    @property
    def correlation_floor(self) -> float: ...
    @property
    def patience(self) -> int: ...


class HelperAlarm:
    """Fed with each update's figures; ``check`` returns why to stop, or None.

    Rings when, ``patience`` updates in a row, KL(policy || helper) is above ``kl_limit`` nats a
    token of reasoning (a helper that is the posterior stays near: its average over answers is
    at most the entropy of the answer over the length), or the helper's reward correlates with the
    truth by less than ``correlation_floor``: then the policy learns to please the helper instead.
    A correlation of None (nothing to compare) neither counts nor clears.
    """

    def __init__(self, options: HelperAlarmOptions) -> None:
        self._options = options
        self.counts = {"kl": 0, "correlation": 0}

    def check(self, kl: float, correlation: float | None) -> str | None:
        options = self._options
        if options.kl_limit:
            self._count("kl", not kl <= options.kl_limit)
        if correlation is not None:
            self._count("correlation", correlation < options.correlation_floor)
        if self.counts["kl"] >= options.patience:
            return (
                f"the helper diverged from the policy: KL {kl:.3f} nats a token is above "
                f"helper.kl_limit {options.kl_limit:g}, {options.patience} updates in a row"
            )
        if self.counts["correlation"] >= options.patience:
            return (
                f"the helper is gamed: its reward correlates with log p(answer | reasoning) by "
                f"{correlation:.2f}, below helper.correlation_floor "
                f"{options.correlation_floor:g}, {options.patience} updates in a row"
            )
        return None

    def _count(self, name: str, bad: bool) -> None:
        self.counts[name] = self.counts[name] + 1 if bad else 0


def correlation_within(
    groups: Sequence[Hashable], ours: Sequence[float], truth: Sequence[float | None]
) -> float | None:
    """Pearson correlation of two numbers of each rollout, both less their mean over the rollout's
    group: what differs between questions says nothing of either. Rollouts without a truth are left
    out. None where a side has no spread or no group has two members."""
    members: dict[Hashable, list[tuple[float, float]]] = defaultdict(list)
    for group, one, other in zip(groups, ours, truth, strict=True):
        if other is not None:
            members[group].append((one, other))
    centred = [
        np.array(pairs) - np.mean(pairs, axis=0) for pairs in members.values() if len(pairs) > 1
    ]
    if not centred:
        return None
    x, y = np.concatenate(centred).T
    spread = np.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / spread) if spread > 1e-12 else None
