"""Weights that are perturbed and come back as they were, to the bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from apportion.errors import UserError
from apportion.train.evolution.noise import Member, draw


class PerturbedWeights:
    """The parameters of ``model`` that require a gradient, with a master copy in float32.

    A perturbed weight is computed from the master copy and written over the model's; to restore,
    the master copy is written again. Nothing is added and subtracted in place, which in 16 bits
    would leave most weights changed. Steps go to the master copy, so that those too small for the
    model's own precision add up. Memory: one float32 copy of what is perturbed.

    Raises UserError where nothing requires a gradient.
    """

    def __init__(self, model: Any, sigma: float, seed: int) -> None:
        self.sigma, self.seed = sigma, seed
        self._parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        if not self._parameters:
            raise UserError("objective evolution: no weight of the policy requires a gradient")
        self.master = {n: p.detach().float().clone() for n, p in self._parameters.items()}

    @property
    def size(self) -> int:
        """How many weights are perturbed."""
        return sum(master.numel() for master in self.master.values())

    @contextmanager
    def at(self, update: int, member: Member) -> Iterator[None]:
        """The model with this perturbation; afterwards as before, whatever happens."""
        try:
            for name in self.master:
                self._write(name, self._perturbed(name, update, member))
            yield
        finally:
            self.restore()

    def stacked(self, update: int, group: Sequence[Member]) -> dict[str, torch.Tensor]:
        """Perturbed weights by name, (P, *shape) for P members; the model is left alone."""
        return {
            name: torch.stack(
                [
                    self._perturbed(name, update, member).to(self._parameters[name].dtype)
                    for member in group
                ]
            )
            for name in self.master
        }

    def step(
        self, update: int, group: Sequence[Member], utilities: np.ndarray, rate: float
    ) -> float:
        """Move by rate / N * sum_i u_i s_i eps_i; returns the step's root mean square.

        Members of equal noise are drawn once. Utilities of zero move nothing.
        """
        pull: dict[int, float] = {}
        for member, utility in zip(group, utilities.tolist(), strict=True):
            pull[member.number] = pull.get(member.number, 0.0) + member.sign * utility
        pull = {index: value for index, value in pull.items() if value != 0.0}
        squares = 0.0
        for name, master in self.master.items():
            if not pull:
                break
            moved = torch.zeros_like(master)
            for index, value in pull.items():
                noise = draw(self.seed, update, index, name, master)
                moved.add_(noise, alpha=rate * value / len(group))
            master.add_(moved)
            squares += float(moved.square().sum())
        self.restore()
        return (squares / self.size) ** 0.5

    @torch.no_grad()
    def restore(self) -> None:
        """Write the master copy into the model."""
        for name, master in self.master.items():
            self._write(name, master)

    def _perturbed(self, name: str, update: int, member: Member) -> torch.Tensor:
        master = self.master[name]
        noise = draw(self.seed, update, member.number, name, master)
        return master + (member.sign * self.sigma) * noise

    @torch.no_grad()
    def _write(self, name: str, value: torch.Tensor) -> None:
        self._parameters[name].copy_(value)
