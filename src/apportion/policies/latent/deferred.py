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

# As many rows (batch x positions) are kept before they are summed up.
_ROWS = 1024
# Below so many numbers a weight's gradient is added sooner than it is put off.
_SMALLEST = 2**17
_LAYERS: WeakKeyDictionary[Any, list[Any]] = WeakKeyDictionary()
_ACTIVE: WeakSet[Any] = WeakSet()


@contextmanager
def deferred_weights(network: Any) -> Iterator[None]:
    """Within the block linear layers and embeddings of ``network`` put off the gradients of their
    weights until everything that was computed in it is behind.

    What they compute is the same, the gradients are so to rounding; they cannot be differentiated
    again. Small weights are left alone, as nothing is gained there, and so are those that learn
    nothing. Without gradients nothing changes, nor does it inside of another such block.
    """
    if not torch.is_grad_enabled() or network in _ACTIVE:
        yield
        return
    if network not in _LAYERS:
        _LAYERS[network] = [m for m in network.modules() if type(m) in _KINDS and _plain(m)]
    layers = [
        m for m in _LAYERS[network] if m.weight.requires_grad and m.weight.numel() >= _SMALLEST
    ]
    for layer in layers:
        layer.forward = partial(_run, layer, _KINDS[type(layer)](layer))
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


def _run(layer: Any, rows: _Rows, values: Tensor) -> Tensor:
    mixed = values.is_floating_point() and values.dtype != layer.weight.dtype
    autocast = torch.is_autocast_enabled(values.device.type)
    if mixed or autocast or not torch.is_grad_enabled():
        plain: Any = type(layer).forward
        return plain(layer, values)
    found = rows.function.apply(values, rows.token(), rows)
    assert isinstance(found, Tensor)
    return found


class _Rows:
    """Rows that a layer read and the gradients at what it wrote, until they are multiplied.

    Kept apart by backward pass: one that goes through the steps and not to the weights leaves its
    rows behind, and the next must not find them.
    """

    function: type[torch.autograd.Function]

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        # Outside of the graph.
        self.weight: Tensor = layer.weight.detach()
        self.bias: Tensor | None = None
        self.nothing = self.weight.new_zeros(())
        self._token: Tensor | None = None
        self._pass = -1
        self._count = 0
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._sums: tuple[Tensor, Tensor | None] | None = None

    def token(self) -> Tensor:
        """Each product takes it, so that its gradient is asked for when all are behind."""
        if self._token is None:
            bias = None if self.bias is None else self.layer.bias
            found = _Sum.apply(self.layer.weight, bias, self)
            assert isinstance(found, Tensor)
            self._token = found
        return self._token

    def keep(self, values: Tensor, gradient: Tensor) -> None:
        if self._pass != (now := torch._C._current_graph_task_id()):
            self._pass, self._kept, self._count, self._sums = now, [], 0, None
        self._kept.append((values, gradient))
        self._count += len(values)
        if self._count >= _ROWS:
            self._sum_up()

    def take(self) -> tuple[Tensor | None, Tensor | None]:
        """The gradients of weight and bias."""
        if self._pass != torch._C._current_graph_task_id():
            return None, None
        self._sum_up()
        sums, self._sums = self._sums, None
        return sums or (None, None)

    def _sum_up(self) -> None:
        if self._kept:
            kept, self._kept, self._count = self._kept, [], 0
            pairs = [torch.cat(parts) for parts in zip(*kept, strict=True)]
            self._sums = self._added(pairs[0], pairs[1], self._sums)

    def _added(
        self, values: Tensor, gradients: Tensor, sums: tuple[Tensor, Tensor | None] | None
    ) -> tuple[Tensor, Tensor | None]:
        """The gradients of weight and bias, added to those before."""
        raise NotImplementedError


class _LinearRows(_Rows):
    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self.function = _Product
        self.turned = type(layer) is nn.Linear
        if self.turned:
            self.weight = self.weight.t()  # (in, out)
        self.bias = None if layer.bias is None else layer.bias.detach()

    def _added(
        self, values: Tensor, gradients: Tensor, sums: tuple[Tensor, Tensor | None] | None
    ) -> tuple[Tensor, Tensor | None]:
        left, right = (gradients, values) if self.turned else (values, gradients)
        bias = None if self.bias is None else gradients.sum(0)
        if sums is None:
            return left.t() @ right, bias
        if bias is not None and sums[1] is not None:
            bias = bias + sums[1]
        return sums[0].addmm_(left.t(), right), bias


class _EmbeddingRows(_Rows):
    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self.function = _Lookup

    def _added(
        self, values: Tensor, gradients: Tensor, sums: tuple[Tensor, Tensor | None] | None
    ) -> tuple[Tensor, Tensor | None]:
        whole = torch.zeros_like(self.weight) if sums is None else sums[0]
        return whole.index_add_(0, values, gradients), None


_KINDS: dict[type, type[_Rows]] = {
    nn.Linear: _LinearRows,
    Conv1D: _LinearRows,
    nn.Embedding: _EmbeddingRows,
}


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
        if rows.bias is None:
            found = flat @ rows.weight
        else:
            found = torch.addmm(rows.bias, flat, rows.weight)
        return found.view(*values.shape[:-1], -1)

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
            back = (gradient @ weight.t()).view(*gradients[0].shape[:-1], -1)
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
