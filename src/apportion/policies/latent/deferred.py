"""Weight gradients of many latent steps in one product for each weight.

A latent step is a few rows. In the backward pass each would add a product of the size of the weight
to its gradient, step after step, and most of the time would go into moving memory. Here a step
keeps its rows instead, and the products are made once the first step has been gone back through.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.pytorch_utils import Conv1D

# As many rows (batch x steps) are kept before they are summed up.
_ROWS = 1024
# Below so many numbers a weight's gradient is added sooner than it is put off.
_SMALLEST = 2**17
_LAYERS: WeakKeyDictionary[Any, list[nn.Module]] = WeakKeyDictionary()


@contextmanager
def deferred_weights(network: Any) -> Iterator[None]:
    """Within the block the linear layers of ``network`` put off the gradients of their weights.

    What they compute is the same, the gradients are so to rounding; they cannot be differentiated
    again. Small weights are left alone, as nothing is gained there, and so are those that learn
    nothing. Without gradients nothing changes.
    """
    if not torch.is_grad_enabled():
        yield
        return
    if network not in _LAYERS:
        _LAYERS[network] = [m for m in network.modules() if type(m) in (nn.Linear, Conv1D)]
    layers: list[Any] = [
        m for m in _LAYERS[network] if m.weight.requires_grad and m.weight.numel() >= _SMALLEST
    ]
    for layer in layers:
        layer.forward = partial(_linear, layer, _Rows(layer))
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _linear(layer: Any, rows: _Rows, values: Tensor) -> Tensor:
    if values.dtype != layer.weight.dtype or torch.is_autocast_enabled(values.device.type):
        return type(layer).forward(layer, values)
    found = _Product.apply(values, rows.token(), rows)
    assert isinstance(found, Tensor)
    return found


class _Rows:
    """Rows that a layer read and the gradients at what it wrote, until they are multiplied.

    Kept apart by backward pass: one that goes through the steps and not to the weights leaves its
    rows behind, and the next must not find them.
    """

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        # Weights as a linear map reads them, (in, out), and outside of the graph.
        weight = layer.weight.detach()
        self.weight = weight.t() if type(layer) is nn.Linear else weight
        self.bias = None if layer.bias is None else layer.bias.detach()
        self.nothing = weight.new_zeros(())
        self._token: Tensor | None = None
        self._pass = -1
        self._count = 0
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._sums: tuple[Tensor, Tensor | None] | None = None

    def token(self) -> Tensor:
        """Each product takes it, so that its gradient is asked for when all are behind."""
        if self._token is None:
            found = _Sum.apply(self.layer.weight, self.layer.bias, self)
            assert isinstance(found, Tensor)
            self._token = found
        return self._token

    def keep(self, values: Tensor, gradient: Tensor) -> None:
        if self._pass != (now := torch._C._current_graph_task_id()):
            self._pass, self._kept, self._count, self._sums = now, [], 0, None
        self._kept.append((values, gradient))
        self._count += len(values)
        if self._count >= _ROWS:
            self._multiply()

    def take(self) -> tuple[Tensor | None, Tensor | None]:
        """The gradients of weight and bias."""
        if self._pass != torch._C._current_graph_task_id():
            return None, None
        self._multiply()
        sums, self._sums = self._sums, None
        return sums or (None, None)

    def _multiply(self) -> None:
        if not self._kept:
            return
        values, gradients = (torch.cat(parts) for parts in zip(*self._kept, strict=True))
        self._kept, self._count = [], 0
        pair = (gradients, values) if type(self.layer) is nn.Linear else (values, gradients)
        bias = None if self.bias is None else gradients.sum(0)
        if self._sums is None:
            self._sums = pair[0].t() @ pair[1], bias
        else:
            self._sums[0].addmm_(pair[0].t(), pair[1])
            if bias is not None and self._sums[1] is not None:
                self._sums[1].add_(bias)


class _Sum(torch.autograd.Function):
    """Nothing, of which weight and bias are the origin."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor | None, rows: _Rows) -> Tensor:
        ctx.rows = rows
        return rows.nothing.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
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
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, None]:
        flat, weight = ctx.saved_tensors
        gradient = gradients[0].flatten(0, -2)
        ctx.rows.keep(flat, gradient)
        back = None
        if ctx.needs_input_grad[0]:
            back = (gradient @ weight.t()).view(*gradients[0].shape[:-1], -1)
        return back, ctx.rows.nothing, None
