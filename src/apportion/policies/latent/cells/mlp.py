"""A projection with a norm."""

from __future__ import annotations

from torch import Tensor, nn

from apportion.policies.latent.cells.base import Cell
from apportion.policies.latent.options import MlpOptions


class MlpCell(Cell):
    """See ``options.MlpOptions``. The only cell that can join hidden states and embeddings of
    different size."""

    same_size = False

    def __init__(self, options: MlpOptions, hidden_size: int, embedding_size: int) -> None:
        super().__init__()
        width = options.width or hidden_size
        self.project = nn.Sequential(
            nn.Linear(hidden_size, width),
            nn.GELU(),
            nn.Linear(width, embedding_size),
            nn.LayerNorm(embedding_size),
        )

    def forward(self, hidden_BD: Tensor, carried_BE: Tensor) -> tuple[Tensor, Tensor]:
        return self.project(hidden_BD), carried_BE
