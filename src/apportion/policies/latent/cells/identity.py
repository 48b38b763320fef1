"""The hidden state itself."""

from __future__ import annotations

from torch import Tensor

from apportion.policies.latent.cells.base import Cell


class IdentityCell(Cell):
    """See ``options.IdentityOptions``. No parameters."""

    def forward(self, hidden_BD: Tensor, carried_BE: Tensor) -> tuple[Tensor, Tensor]:
        return hidden_BD, carried_BE
