"""The gradient as it comes back through the latent steps: its norm at each, and cures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Cure = Literal["off", "clip", "equal"]


@dataclass(frozen=True)
class Bptt:
    """How the gradient goes back through K latent steps.

    ``truncate``: only through the last n steps (0: through all). Earlier steps are computed without
    a graph; the question's keys and values still learn from whatever looks at them later.

    ``recompute``: keep no activations of latent steps, and compute stretches of n steps again in
    the backward pass (0: keep all). The gradient is the same; the activations of one stretch are
    held instead of those of K steps.

    ``cure``: what happens to g_t = dL/dz_t, row by row, where z_t is the input of step t. All that
    step t contributes passes through z_t, keys and values included. ``clip`` cuts the norm of
    g_t at that of the row's last step, ``equal`` sets it to that. Neither is the gradient of any
    loss.
    """

    truncate: int = 0
    recompute: int = 0
    cure: Cure = "off"

    def stretches(self, steps: int) -> list[tuple[int, int, bool]]:
        """(first step, step after the last, whether it has a graph), in order."""
        first = max(0, steps - self.truncate) if self.truncate else 0
        found = [(0, first, False)] if first else []
        size = self.recompute or max(1, steps)
        found += [(a, min(a + size, steps), True) for a in range(first, steps, size)]
        return found


def bad_steps(norms: Sequence[float | None]) -> list[int]:
    """Numbers (from 1) of the latent steps whose norm is not finite; None passes."""
    return [t for t, norm in enumerate(norms, 1) if norm is not None and not math.isfinite(norm)]


class StepGradients:
    """Watches dL/dz_t during one backward pass, and applies the cure.

    ``norms()`` afterwards: for each step the mean over the rows that take it of the norm that
    arrived, before any cure; None where no gradient arrived.
    """

    def __init__(self, steps_B: Tensor, cure: Cure = "off") -> None:
        self._steps_B = steps_B
        self._cure = cure
        self._reference_B: Tensor | None = None
        self._norms: dict[int, Tensor] = {}

    def watch(self, latent_BE: Tensor, step: int) -> None:
        """Register step ``step`` (from 0). Does nothing where no gradient will come."""
        if latent_BE.requires_grad:
            latent_BE.register_hook(lambda gradient_BE: self._arrived(gradient_BE, step))

    def norms(self) -> list[float | None]:
        steps = range(int(self._steps_B.max()))
        return [self._norms[step].item() if step in self._norms else None for step in steps]

    def _arrived(self, gradient_BE: Tensor, step: int) -> Tensor | None:
        norm_B = gradient_BE.norm(dim=-1)
        active_B = self._steps_B > step
        self._norms[step] = norm_B[active_B].mean()
        if self._cure == "off":
            return None
        if self._reference_B is None:
            self._reference_B = torch.zeros_like(norm_B)
        # Steps arrive last first, so the first norm of a row is that of its last step.
        last_B = self._steps_B == step + 1
        self._reference_B = torch.where(last_B, norm_B, self._reference_B)
        scale_B = self._reference_B / norm_B.clamp_min(torch.finfo(norm_B.dtype).tiny)
        if self._cure == "clip":
            scale_B = scale_B.clamp_max(1.0)
        usable_B = active_B & (norm_B > 0) & scale_B.isfinite()
        return gradient_BE * torch.where(usable_B, scale_B, 1.0)[:, None]
