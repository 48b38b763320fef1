"""The embedding of the token that would come next, as far as the model can say."""

from __future__ import annotations

import torch
from torch import Tensor

from apportion.policies.latent.cells.base import Cell
from apportion.policies.latent.decoder import Decoder
from apportion.policies.latent.options import SoftOptions


class SoftCell(Cell):
    """See ``options.SoftOptions``. No parameters of its own: head and embeddings are the model's.

    With ``top_k`` the gradient passes through the kept tokens alone.
    """

    same_size = False

    def __init__(self, options: SoftOptions, decoder: Decoder) -> None:
        super().__init__()
        self.options = options
        self._decoder = [decoder]  # in a list: its weights are not the cell's

    def forward(self, hidden_BD: Tensor, carried_BE: Tensor) -> tuple[Tensor, Tensor]:
        decoder = self._decoder[0]
        logits_BV = decoder.logits(hidden_BD) / self.options.temperature
        if self.options.top_k is None:
            return logits_BV.softmax(-1) @ decoder.embeddings(), carried_BE
        k = min(self.options.top_k, logits_BV.shape[-1])
        top_BK, tokens_BK = logits_BV.topk(k, dim=-1)
        mixed_BE = torch.einsum("bk,bke->be", top_BK.softmax(-1), decoder.embed(tokens_BK))
        return mixed_BE, carried_BE
