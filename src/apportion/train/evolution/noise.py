"""Noise that is drawn again from its name instead of being kept.

Each tensor of each perturbation has a generator of its own, seeded by run, update, perturbation
and the tensor's name. So two matrices of one shape never get the same noise, and nothing has to be
stored to draw it again, after a restart too.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from apportion.tasks.stable import stable_hash


class Member(NamedTuple):
    """A perturbation: the noise ``number``, with ``sign`` 1 or -1."""

    number: int
    sign: int


def members(population: int, *, antithetic: bool) -> list[Member]:
    """The perturbations of one update; antithetic ones in pairs of equal noise, plus then minus.

    Antithetic noise estimates a slope by central differences: what is even in the noise, the
    reward itself above all, cancels (Salimans et al. 2017, section 2.1).
    """
    if not antithetic:
        return [Member(index, 1) for index in range(population)]
    return [Member(index // 2, 1 - 2 * (index % 2)) for index in range(population)]


def draw(seed: int, update: int, index: int, name: str, like: torch.Tensor) -> torch.Tensor:
    """Standard normal noise in the shape and on the device of ``like``, float32.

    The same arguments give the same noise, on the same kind of device.
    """
    generator = torch.Generator(device=like.device)
    generator.manual_seed(stable_hash(f"noise {seed} {update} {index} {name}") & (2**63 - 1))
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=torch.float32)
