"""Keys and values in parts, so that each part keeps its own graph, or none.

Between stretches of steps we keep only what each stretch added, and concatenate where a stretch
begins, inside what is recomputed; within a stretch keys and values grow in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from apportion.policies.latent.growing import GrowingLayer

# Keys and values (B, heads, positions, size) of each layer.
Part = list[tuple[Tensor, Tensor]]


def part_of(cache: DynamicCache, start: int = 0) -> Part:
    """What the cache holds from position ``start`` on, in memory of its own."""
    layers: list[Any] = cache.layers
    if start == 0:
        return [(layer.keys, layer.values) for layer in layers]
    # A slice alone would keep all that came before it alive.
    return [(_from(layer.keys, start), _from(layer.values, start)) for layer in layers]


def cache_of(parts: Sequence[Part]) -> DynamicCache:
    """A new cache that holds the parts one after the other."""
    cache = DynamicCache()
    for layers in zip(*parts, strict=True):
        keys, values = (_joined(tensors) for tensors in zip(*layers, strict=True))
        cache.layers.append(GrowingLayer(keys, values))
    return cache


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors), dim=-2)


def _from(tensor: Tensor, start: int) -> Tensor:
    return tensor[..., start:, :].clone()
