"""The same function of a transformers network, with less work and less memory for it.

What transformers computes is kept to rounding, and only while a network is run from here: outside
of it the network is as it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from transformers.activations import NewGELUActivation
from transformers.models.gpt2.modeling_gpt2 import GPT2Attention
from transformers.models.llama.modeling_llama import LlamaAttention

from apportion.policies.latent.last_query import last_position, last_query

_SLOPE = 2 * math.sqrt(2 / math.pi)
_CUBE = _SLOPE * 0.044715
_GELUS: WeakKeyDictionary[Any, list[nn.Module]] = WeakKeyDictionary()


@contextmanager
def lean(network: Any, *, last_only: bool = False) -> Iterator[None]:
    """Within the block GPT-2's activation is one operation instead of eight that each keep a
    tensor. With ``last_only`` the final states are right at the last position alone: the last
    layer's attention and feed-forward block are left out at all others, whose keys and values they
    cannot change.
    """
    if network not in _GELUS:
        _GELUS[network] = [m for m in network.modules() if type(m) is NewGELUActivation]
    block = last_feed_forward(network) if last_only else None
    hook = block.register_forward_pre_hook(last_position) if block is not None else None
    attention = last_attention(network) if last_only else None
    for module in _GELUS[network]:
        module.forward = _fused
    try:
        with last_query(attention) if attention is not None else nullcontext():
            yield
    finally:
        for module in _GELUS[network]:
            del module.forward
        if hook is not None:
            hook.remove()


def _fused(values: Tensor) -> Tensor:
    if values.is_cpu:
        found = _Gelu.apply(values)
        assert isinstance(found, Tensor)
        return found
    return gelu(values, approximate="tanh")


class _Gelu(torch.autograd.Function):
    """x (1 + tanh u) / 2 as x sigmoid(2u), u = sqrt(2 / pi) (x + 0.044715 x^3): the sigmoid takes
    half the time of the hyperbolic tangent on a processor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        share = x.square().mul_(_CUBE).add_(_SLOPE).mul_(x).sigmoid_()
        ctx.save_for_backward(x, share)
        return x * share

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        x, share = ctx.saved_tensors
        slope = x.square().mul_(3 * _CUBE).add_(_SLOPE).mul_(x)
        slope.addcmul_(slope, share, value=-1)
        return slope.add_(1).mul_(share).mul_(gradients[0])


def last_feed_forward(network: Any) -> nn.Module | None:
    """The ``mlp`` of the last layer, where the network has its layers as most have."""
    block = getattr(_last_layer(network), "mlp", None)
    # A mixture of experts routes by position and may count what it routes.
    plain = block is not None and not any("gate" in n or "router" in n for n, _ in _parts(block))
    return block if plain else None


def last_attention(network: Any) -> nn.Module | None:
    """The attention of the last layer of a GPT-2 or Llama; others may do more with what it says
    than add it, position by position."""
    layer = _last_layer(network)
    found = getattr(layer, "self_attn", None) or getattr(layer, "attn", None)
    return found if type(found) in (GPT2Attention, LlamaAttention) else None


def _last_layer(network: Any) -> nn.Module | None:
    base = network.base_model
    layers = getattr(base, "layers", None) or getattr(base, "h", None)
    return layers[-1] if layers else None


def _parts(block: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(n, m) for n, m in block.named_children() if n not in ("gate_proj", "gate_up_proj")]
