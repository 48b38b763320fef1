"""A memory beside the model, added to the hidden state."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from apportion.policies.latent.cells.base import Cell
from apportion.policies.latent.options import LstmOptions


class LstmCell(Cell):
    """See ``options.LstmOptions``.

    c' = sigmoid(f) * c + sigmoid(i) * tanh(g) with f, i, o, g linear in h: the gradient reaches
    far steps along c, past the transformer's layers.
    """

    def __init__(self, options: LstmOptions, hidden_size: int) -> None:
        super().__init__()
        self.gates = nn.Linear(hidden_size, 4 * hidden_size)
        with torch.no_grad():
            bias = self.gates.bias.zero_().view(4, hidden_size)
            bias[0] = options.forget_bias
            bias[2] = options.output_bias

    def start(self, embedding_BE: Tensor) -> Tensor:
        return torch.zeros_like(embedding_BE)

    def forward(self, hidden_BD: Tensor, carried_BE: Tensor) -> tuple[Tensor, Tensor]:
        f_BD, i_BD, o_BD, g_BD = self.gates(hidden_BD).chunk(4, dim=-1)
        memory_BD = f_BD.sigmoid() * carried_BE + i_BD.sigmoid() * g_BD.tanh()
        return hidden_BD + o_BD.sigmoid() * memory_BD.tanh(), memory_BD
