"""Keys and values that grow in place, and can be differentiated all the same.

Concatenation copies everything so far at each new position, and the backward pass keeps every
copy. Here what was written is never written again, so all lengths share one block of memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

_SPARE = 32  # positions that a new block has room for, at least


class _Block:
    """Memory for (B, heads, room, size); ``upto`` gives its beginning as a tensor of its own,
    which autograd does not know as a view of the others."""

    def __init__(self, like: Tensor, length: int) -> None:
        b, h, _, d = like.shape
        self.room = length + max(_SPARE, length // 2)
        self._whole = like.new_empty((b, h, self.room, d))

    def write(self, start: int, new: Tensor) -> None:
        self._whole[:, :, start : start + new.shape[2]].copy_(new)

    def upto(self, length: int) -> Tensor:
        part = self._whole[:, :, :length]
        return torch.empty(0, dtype=part.dtype, device=part.device).set_(
            part.untyped_storage(), part.storage_offset(), part.shape, part.stride()
        )


class _Append(torch.autograd.Function):
    """``past`` and ``new`` one after the other, where ``block`` holds ``past`` already."""

    @staticmethod
    def forward(ctx: Any, past: Tensor, new: Tensor, block: _Block) -> Tensor:
        ctx.length = past.shape[2]
        block.write(ctx.length, new)
        return block.upto(ctx.length + new.shape[2])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        gradient = gradients[0]
        return gradient[:, :, : ctx.length], gradient[:, :, ctx.length :], None


class GrowingLayer(DynamicLayer):
    """A cache's layer that starts from ``keys`` and ``values`` (B, heads, positions, size), which
    it never writes to."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values
        self._blocks: tuple[_Block, _Block] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        past_keys, past_values = self.keys, self.values
        assert past_keys is not None and past_values is not None
        length = past_keys.shape[2] + key_states.shape[2]
        if self._blocks is None or self._blocks[0].room < length:
            self._blocks = _Block(past_keys, length), _Block(past_values, length)
            for block, past in zip(self._blocks, (past_keys, past_values), strict=True):
                block.write(0, past.detach())
        key_block, value_block = self._blocks
        keys = _appended(past_keys, key_states, key_block)
        values = _appended(past_values, value_states, value_block)
        self.keys, self.values = keys, values
        return keys, values


def _appended(past: Tensor, new: Tensor, block: _Block) -> Tensor:
    found = _Append.apply(past, new, block)
    assert isinstance(found, Tensor)
    return found
