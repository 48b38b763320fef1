"""Weight gradients of many passes through a network in one product for each weight.

A latent step is a few rows. In the backward pass each would add a product of the size of the weight
to its gradient, step after step, and most of the time would go into moving memory. Here rows are
kept instead, and the products are made once the first pass has been gone back through.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding
from transformers.pytorch_utils import Conv1D

from apportion.policies.latent.products import across, along

# As many rows (batch x positions) are kept before they are summed up.
_ROWS = 1024
# Below so many numbers a weight's gradient is added sooner than it is put off.
_SMALLEST = 10**5
_LAYERS: WeakKeyDictionary[Any, list[Any]] = WeakKeyDictionary()
_ACTIVE: WeakSet[Any] = WeakSet()


@contextmanager
def deferred_weights(network: Any) -> Iterator[None]:
    """Within the block linear layers and embeddings of ``network`` put off the gradients of their
    weights until everything that was computed in it is behind.

    What they compute is the same, the gradients are so to rounding; they cannot be differentiated
    again. Small weights are left alone, as nothing is gained there, and so are those that learn
    nothing. Without gradients nothing changes, nor does it inside of another such block, nor on an
    accelerator, which waits for the next operation and not for memory.
    """
    if not torch.is_grad_enabled() or network in _ACTIVE or network.device.type != "cpu":
        yield
        return
    if network not in _LAYERS:
        _LAYERS[network] = [m for m in network.modules() if type(m) in _KINDS and _plain(m)]
    layers = [
        m for m in _LAYERS[network] if m.weight.requires_grad and m.weight.numel() >= _SMALLEST
    ]
    # An embedding and a head that share a weight share its rows.
    rows: dict[tuple[int, int, bool], _Rows] = {}
    for layer in layers:
        function, sideways = _KINDS[type(layer)]
        key = id(layer.weight), id(getattr(layer, "bias", None)), sideways
        if key not in rows:
            rows[key] = _Rows(layer, sideways)
        layer.forward = partial(_run, layer, function, rows[key])
    _ACTIVE.add(network)
    try:
        yield
    finally:
        _ACTIVE.discard(network)
        for layer in layers:
            del layer.forward


def _plain(layer: Any) -> bool:
    if type(layer) is not nn.Embedding:
        return True
    special = layer.padding_idx is not None or layer.max_norm is not None
    return not (special or layer.sparse or layer.scale_grad_by_freq)


def _run(
    layer: Any, function: type[torch.autograd.Function], rows: _Rows, values: Tensor
) -> Tensor:
    mixed = values.is_floating_point() and values.dtype != layer.weight.dtype
    autocast = torch.is_autocast_enabled(values.device.type)
    if mixed or autocast or not torch.is_grad_enabled():
        plain: Any = type(layer).forward
        return plain(layer, values)
    found = function.apply(values, rows.token(), rows)
    assert isinstance(found, Tensor)
    return found


class _Rows:
    """Rows that the layers of one weight read and the gradients at what they wrote, until they are
    multiplied. A weight lies ``sideways`` where it is stored as (in, out).

    Kept apart by backward pass: one that goes through the steps and not to the weights leaves its
    rows behind, and the next must not find them.
    """

    def __init__(self, layer: Any, sideways: bool) -> None:
        self.layer = layer
        self.sideways = sideways
        # Outside of the graph.
        self.weight: Tensor = layer.weight.detach()
        bias = getattr(layer, "bias", None)
        self.bias: Tensor | None = None if bias is None else bias.detach()
        self.nothing = self.weight.new_zeros(())
        self._token: Tensor | None = None
        self._pass = -1
        self._count = 0
        self._read: list[tuple[Tensor, Tensor]] = []
        self._looked_up: list[tuple[Tensor, Tensor]] = []
        self._sum: Tensor | None = None
        self._bias_sum: Tensor | None = None

    def token(self) -> Tensor:
        """Each product takes it, so that its gradient is asked for when all are behind."""
        if self._token is None:
            bias = None if self.bias is None else self.layer.bias
            found = _Sum.apply(self.layer.weight, bias, self)
            assert isinstance(found, Tensor)
            self._token = found
        return self._token

    def keep(self, values: Tensor, gradient: Tensor) -> None:
        """``values`` are rows (R, in), or numbers (R,) of the weight's rows that were looked up."""
        if self._pass != (now := torch._C._current_graph_task_id()):
            self._pass, self._count, self._sum, self._bias_sum = now, 0, None, None
            self._read, self._looked_up = [], []
        kept = self._read if values.is_floating_point() else self._looked_up
        kept.append((values, gradient))
        self._count += len(values)
        if self._count >= _ROWS:
            self._sum_up()

    def take(self) -> tuple[Tensor | None, Tensor | None]:
        """The gradients of weight and bias."""
        if self._pass != torch._C._current_graph_task_id():
            return None, None
        self._sum_up()
        sums = self._sum, self._bias_sum
        self._sum, self._bias_sum = None, None
        return sums

    def _sum_up(self) -> None:
        self._count = 0
        if self._read:
            values, gradients = _joined(self._read)
            left, right = (values, gradients) if self.sideways else (gradients, values)
            if self._sum is None:
                self._sum = left.t() @ right
            else:
                self._sum.addmm_(left.t(), right)
            if self.bias is not None:
                part = gradients.sum(0)
                self._bias_sum = part if self._bias_sum is None else self._bias_sum + part
        if self._looked_up:
            # After the products, whose sum spares the zeros to begin with.
            if self._sum is None:
                self._sum = torch.zeros_like(self.weight)
            self._sum.index_add_(0, *_joined(self._looked_up))
        self._read, self._looked_up = [], []


def _joined(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    values, gradients = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    return values, gradients


class _Sum(torch.autograd.Function):
    """Nothing, of which weight and bias are the origin."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor | None, rows: _Rows) -> Tensor:
        ctx.rows = rows
        return rows.nothing.clone()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None]:
        weight, bias = ctx.rows.take()
        return weight, bias if ctx.needs_input_grad[1] else None, None


class _Product(torch.autograd.Function):
    """``values`` (..., in) times the weight of ``rows``, plus its bias."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, token: Tensor, rows: _Rows) -> Tensor:
        ctx.rows = rows
        flat = values.flatten(0, -2)
        ctx.save_for_backward(flat, rows.weight)
        product = along if rows.sideways else across
        return product(flat, rows.weight, rows.bias).view(*values.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, Tensor, None]:
        flat, weight = ctx.saved_tensors
        gradient = gradients[0].flatten(0, -2)
        ctx.rows.keep(flat, gradient)
        back = None
        if ctx.needs_input_grad[0]:
            product = across if ctx.rows.sideways else along
            back = product(gradient, weight).view(*gradients[0].shape[:-1], -1)
        return back, ctx.rows.nothing, None


class _Lookup(torch.autograd.Function):
    """Rows of the weight of ``rows``, by their numbers."""

    @staticmethod
    def forward(ctx: Any, ids: Tensor, token: Tensor, rows: _Rows) -> Tensor:
        ctx.rows = rows
        ctx.save_for_backward(ids)
        return embedding(ids, rows.weight)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[None, Tensor, None]:
        (ids,) = ctx.saved_tensors
        ctx.rows.keep(ids.flatten(), gradients[0].flatten(0, -2))
        return None, ctx.rows.nothing, None


# What runs a layer, and whether its weight lies sideways.
_KINDS: dict[type, tuple[type[torch.autograd.Function], bool]] = {
    nn.Linear: (_Product, False),
    Conv1D: (_Product, True),
    nn.Embedding: (_Lookup, False),
}
