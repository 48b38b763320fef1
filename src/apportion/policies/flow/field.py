"""The velocity field v(z, t, x) that moves a thought.

_B  rows        _Q  question positions      _M  vectors of a thought     _D  size of each
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

_FREQUENCIES = 4  # of the sines and cosines that tell the time


class VelocityField(nn.Module):
    """One pre-norm transformer block over the thought, which looks at the question too, and is
    told the time. Its last layer begins at zero, so that an untrained thought stands still."""

    def __init__(self, size: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.time = nn.Linear(2 * _FREQUENCIES, size)
        self.norm_z, self.norm_x = nn.LayerNorm(size), nn.LayerNorm(size)
        self.heads = heads
        self.asks, self.keys = nn.Linear(size, size), nn.Linear(size, size)
        self.values, self.read = nn.Linear(size, size), nn.Linear(size, size)
        self.norm = nn.LayerNorm(size)
        self.inner, self.outer = nn.Linear(size, hidden), nn.Linear(hidden, size)
        self.mix = nn.Linear(size, size)
        for last in (self.outer, self.mix):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, z_BMD: Tensor, time: float, x_BQD: Tensor, mask_BQ: Tensor) -> Tensor:
        """The velocity (B, M, D) at ``time`` in [0, 1); ``mask_BQ`` is 1 where the question has a
        token."""
        told_BMD = self.norm_z(z_BMD) + self.time(_waves(time, z_BMD))
        seen_BLD = torch.cat([self.norm_x(x_BQD), told_BMD], 1)
        seen_BL = torch.cat([mask_BQ == 1, mask_BQ.new_ones(told_BMD.shape[:2]) == 1], 1)
        inside_BMD = told_BMD + self._look(told_BMD, seen_BLD, seen_BL)
        lifted_BMD = gelu(self.inner(self.norm(inside_BMD)))
        return self.mix(inside_BMD) + self.outer(lifted_BMD)

    def _look(self, told_BMD: Tensor, seen_BLD: Tensor, seen_BL: Tensor) -> Tensor:
        """What the thought reads of the question and of itself, (B, M, D)."""
        asks, keys, values = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, x in (
                (self.asks, told_BMD),
                (self.keys, seen_BLD),
                (self.values, seen_BLD),
            )
        )
        found = scaled_dot_product_attention(asks, keys, values, attn_mask=seen_BL[:, None, None])
        return self.read(found.transpose(1, 2).flatten(-2))


def _waves(time: float, like: Tensor) -> Tensor:
    """sin and cos of pi 2^i t, (2 x frequencies,)."""
    angle_F = like.new_tensor([torch.pi * 2**i * time for i in range(_FREQUENCIES)])
    return torch.cat([angle_F.sin(), angle_F.cos()])
