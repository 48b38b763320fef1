"""A leaky carry of the input before, with a learned gate."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from apportion.policies.latent.cells.base import Cell
from apportion.policies.latent.options import HrpoOptions

_SHARPNESS = 8.0  # HRPO's constant
_TINY = 1e-8  # keeps the slope of the root finite where the carry is 1


class HrpoCell(Cell):
    """See ``options.HrpoOptions``.

    r = sigmoid(W_r z), i = sigmoid(W_i z), a = exp(-8 softplus(-L) r), each of size (E,), L a
    parameter. At r = 1/2, where training starts, a is uniform between ``low`` and ``high``.
    """

    def __init__(self, options: HrpoOptions, size: int) -> None:
        super().__init__()
        self.remember = nn.Linear(size, size)
        self.admit = nn.Linear(size, size)
        nn.init.zeros_(self.remember.bias)
        nn.init.zeros_(self.admit.bias)
        carry_E = torch.empty(size).uniform_(options.low, options.high)
        # Inverse of a = exp(-4 softplus(-L)).
        self.decay = nn.Parameter(-torch.log(torch.expm1(-carry_E.log() * 2 / _SHARPNESS)))

    def forward(self, hidden_BD: Tensor, carried_BE: Tensor) -> tuple[Tensor, Tensor]:
        r_BE = self.remember(carried_BE).sigmoid()
        i_BE = self.admit(carried_BE).sigmoid()
        a_BE = torch.exp(-_SHARPNESS * softplus(-self.decay) * r_BE)
        latent_BE = a_BE * carried_BE + (1 - a_BE**2 + _TINY).sqrt() * (i_BE * hidden_BD)
        return latent_BE, latent_BE
