"""Which reviewers are worth their credit, learned from what a policy gains under each. Pure.

Training is cut into blocks. While exploring, one reviewer alone gives the credit of a block, and
the change of held-out accuracy over the block is its gain (see ``consensus.value``). Afterwards
all that are left review together, weighted by what was learned. Every decision is kept with its
reason and its numbers.

``elimination``: every cycle gives each reviewer that is left one block, in random order; after a
cycle the clearly worse ones go (successive elimination: Even-Dar, Mannor and Mansour 2006).
``thompson``: a block goes to the reviewer whose draw from its posterior is largest (Thompson 1933).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from apportion.consensus.value import Observation, Value, better, values_of
from apportion.consensus.weights import scaled
from apportion.errors import UserError

# The control: blocks without a reviewer, in which credit is the outcome's.
NOBODY = "nobody"

Action = Literal["assigned", "dropped", "settled"]


class Decision(NamedTuple):
    """What was decided before ``block``, of whom, and why, with the numbers."""

    block: int
    reviewer: str
    action: Action
    reason: str

    def __str__(self) -> str:
        return f"block {self.block}: {self.reviewer} {self.action}: {self.reason}"


class BanditOptions(NamedTuple):
    """``cycles`` blocks a reviewer are explored. After ``min_blocks`` of its own a reviewer is
    dropped where the probability that it is worth more than the best, or than ``nobody``, is
    below ``drop_below``; at least ``keep`` are kept. ``control`` explores ``nobody`` too."""

    method: Literal["elimination", "thompson"] = "elimination"
    cycles: int = 3
    min_blocks: int = 2
    drop_below: float = 0.05
    keep: int = 1
    control: bool = False
    prior_sd: float = 0.05


class ReviewerBandit:
    """Assigns blocks, learns from their gains, drops and weighs.

    The same seed and the same gains give the same decisions, whatever the order of the names.
    ``decisions`` and ``dropped`` (name to reason) are for reading; ``block`` counts blocks.
    """

    def __init__(
        self,
        names: Sequence[str],
        options: BanditOptions | None = None,
        *,
        seed: int = 0,
        start: Mapping[str, float] | None = None,
    ) -> None:
        """``start`` maps reviewers to a weight known before; one of weight 0 takes no part.

        Raises UserError for names that repeat or are ``nobody``, or where ``start`` leaves none.
        """
        self.names, self.options, self.seed = sorted(names), options or BanditOptions(), seed
        if len(set(self.names)) < len(self.names) or NOBODY in self.names:
            raise UserError(f"metalearning: reviewers need different names, and none '{NOBODY}'")
        self.block = 0
        self.settled = False
        self.decisions: list[Decision] = []
        self.dropped: dict[str, str] = {}
        self._observed: list[Observation] = []
        self._assigned: tuple[str, ...] = ()
        self._queue: list[str] = []
        self._cycle, self._cycle_size = -1, 0
        for name in self.names:
            if (start or {}).get(name, 1.0) <= 0:
                self._drop(name, "no better than chance on planted errors")
        if not self.left:
            raise UserError("metalearning: no reviewer is better than chance on planted errors")

    @property
    def left(self) -> list[str]:
        return [name for name in self.names if name not in self.dropped]

    # -- choosing --------------------------------------------------------------------------------

    def next_block(self) -> tuple[str, ...]:
        """Who gives the credit of the next block: one reviewer, or ``nobody``; all that are left
        once exploration is over. Asking again before ``observe`` changes nothing."""
        if not self._assigned and not self.settled:
            if self._exploring():
                choose = self._draw if self.options.method == "thompson" else self._turn
                name, why = choose()
                self._assigned = (name,)
                self._log(name, "assigned", why)
            else:
                self._settle()
        return self._assigned

    @property
    def _arms(self) -> list[str]:
        return [*self.left, *([NOBODY] if self.options.control and self.left else [])]

    def _exploring(self) -> bool:
        if len(self._arms) < 2:
            return False
        if self.options.method == "thompson":
            return self.block < self.options.cycles * len(self._arms)
        return bool(self._queue) or self._cycle + 1 < self.options.cycles

    def _turn(self) -> tuple[str, str]:
        """Elimination: the next of the cycle."""
        if not self._queue:
            self._cycle, self._cycle_size = self._cycle + 1, len(self._arms)
            order = np.random.default_rng([self.seed, self._cycle]).permutation(len(self._arms))
            self._queue = [self._arms[i] for i in order]
        return self._queue.pop(0), f"its turn in cycle {self._cycle + 1} of {self.options.cycles}"

    def _draw(self) -> tuple[str, str]:
        """Thompson: the largest draw."""
        normal = np.random.default_rng([self.seed, self.block]).standard_normal(len(self._arms))
        values, draws = self.values(), {}
        for arm, z in zip(self._arms, normal, strict=True):
            draws[arm] = values[arm].mean + values[arm].sd * float(z)
        name = max(self._arms, key=lambda arm: draws[arm])
        rest = ", ".join(f"{arm} {draws[arm]:+.4f}" for arm in self._arms if arm != name)
        return name, f"its value was drawn largest, {draws[name]:+.4f} ({rest})"

    # -- learning --------------------------------------------------------------------------------

    def observe(self, gain: float, error: float) -> None:
        """The gain of the block that ``next_block`` assigned, and its standard error. A block that
        several reviewers share says nothing of any one of them and is only counted.

        Raises ValueError before ``next_block``, or for numbers that are no observation.
        """
        if not self._assigned and not self.settled:
            raise ValueError("observe() comes after next_block()")
        if not (math.isfinite(gain) and math.isfinite(error) and error >= 0):
            raise ValueError(f"gain {gain} with error {error} is no observation")
        self.block += 1
        if self.settled:
            return
        time = max(self._cycle, 0)
        self._observed.append(Observation(self._assigned[0], gain, error, time))
        self._assigned = ()
        if not self._queue:
            self._drop_the_worse()

    def values(self) -> dict[str, Value]:
        """The posterior of every reviewer, dropped ones and the control included. The blocks of a
        cycle that is not over are not counted yet."""
        whole = self._observed
        if self.options.method == "elimination":
            now = [seen for seen in whole if seen.time == self._cycle]
            if len(now) < self._cycle_size:
                whole = [seen for seen in whole if seen.time != self._cycle]
        names = [*self.names, *([NOBODY] if self.options.control else [])]
        return values_of(whole, names, prior_sd=self.options.prior_sd)

    def _drop_the_worse(self) -> None:
        values = self.values()
        ripe = [n for n in self.left if values[n].blocks >= self.options.min_blocks]
        rivals = sorted(ripe, key=lambda name: values[name].mean)[-1:]
        if self.options.control and values[NOBODY].blocks >= self.options.min_blocks:
            rivals.append(NOBODY)
        for name in sorted(ripe, key=lambda name: values[name].mean):
            for rival in rivals:
                chance = better(values[name], values[rival])
                if len(self.left) > self.options.keep and chance < self.options.drop_below:
                    self._drop(
                        name,
                        f"worth {values[name]}; {rival} {values[rival]}; probability {chance:.3f} "
                        f"that it is worth more than {rival}, below {self.options.drop_below:g}",
                    )
                    break

    def _drop(self, name: str, reason: str) -> None:
        self.dropped[name] = reason
        self._log(name, "dropped", reason)

    def _settle(self) -> None:
        self.settled, self._assigned = True, tuple(self.left)
        values, weights = self.values(), self.weights()
        for name in self.left:
            self._log(name, "settled", f"weight {weights[name]:.3f}; worth {values[name]}")

    def _log(self, name: str, action: Action, reason: str) -> None:
        self.decisions.append(Decision(self.block, name, action, reason))

    # -- using -----------------------------------------------------------------------------------

    def weights(self) -> dict[str, float]:
        """Weight of every reviewer: the probability that it is worth more than the mean of all,
        0 for the dropped, scaled so that the weights add up to the number of reviewers."""
        values = self.values()
        return scaled({n: 0.0 if n in self.dropped else values[n].above_mean for n in self.names})

    def block_weights(self) -> dict[str, float]:
        """Weights for the block that was assigned: one reviewer alone while exploring."""
        if self.settled:
            return self.weights()
        return {name: float(name in self._assigned) for name in self.names}
