"""A stretch of latent steps that keeps no activations and is computed again in the backward pass.

Reentrant checkpointing: it takes and returns flat tensors, and works with ``loss.backward()`` but
not with ``torch.autograd.grad``. The other kind keeps the graph's nodes of every step, and these
small blocks among ever larger keys and values fragment the heap until nothing is saved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from apportion.policies.latent.cache import Part

# Hidden state, what the cell carries, the keys and values added, the hidden state after each step.
Stretch = tuple[Tensor, Tensor, Part, list[Tensor]]
Run = Callable[[int, int, Tensor, Tensor, list[Part]], Stretch]


def recomputed(run: Run) -> Run:
    """``run`` with the same results and gradients and less memory."""

    def stretch(
        first: int, stop: int, hidden_BD: Tensor, carried_BE: Tensor, past: list[Part]
    ) -> Stretch:
        layers = [len(part) for part in past]

        def flat(hidden_BD: Tensor, carried_BE: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
            whole = iter(_pairs(tensors))
            again = [[next(whole) for _ in range(count)] for count in layers]
            hidden_BD, carried_BE, part, states = run(first, stop, hidden_BD, carried_BE, again)
            return hidden_BD, carried_BE, *states, *_tensors([part])

        # Without an input that has a gradient, the cell's own weights would get none.
        if not hidden_BD.requires_grad:
            hidden_BD = hidden_BD.detach().requires_grad_()
        found = checkpoint(flat, hidden_BD, carried_BE, *_tensors(past), use_reentrant=True)
        assert found is not None
        states, rest = found[2 : 2 + stop - first], found[2 + stop - first :]
        return found[0], found[1], _pairs(rest), [*states]

    return stretch


def _tensors(parts: Sequence[Part]) -> list[Tensor]:
    return [tensor for part in parts for pair in part for tensor in pair]


def _pairs(tensors: Sequence[Tensor]) -> Part:
    return list(zip(tensors[::2], tensors[1::2], strict=True))
