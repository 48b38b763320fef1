"""How much of a gradient is signal: the cosine between the gradients of successive updates."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook


class GradientSignal:
    """Watches every step of an optimiser that learns weights of ``model``.

    With G the true gradient and S the covariance of one rollout's, the mean gradient g over n
    rollouts has E|g|^2 = |G|^2 + tr(S)/n, and two of independent batches have E<g, g'> = |G|^2. So
    their cosine c estimates |G|^2 / (|G|^2 + tr(S)/n), and c / (n (1 - c)) is |G|^2 / tr(S): the
    signal per rollout, one over the simple noise scale of McCandlish et al. 2018 (arXiv
    1812.06162, section 2.2). Successive updates stand for independent batches, as far as one step
    leaves the gradient what it was. A gradient that is clipped as a whole has the same cosine.

    It keeps one copy of the gradient. Optimisers of other weights (a helper's, a reward model's)
    are not watched; where two learn the model's, each is compared with its own last step.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._watched = {id(parameter) for parameter in model.parameters()}
        self._last: dict[int, dict[int, torch.Tensor]] = {}
        self._cosines: list[float] = []
        # Optimisers outlive what watches them: the hook must not keep it alive.
        here = weakref.ref(self)

        def stepping(optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
            signal = here()
            if signal is not None:
                signal._on_step(optimizer)

        handle = register_optimizer_step_pre_hook(stepping)
        weakref.finalize(self, handle.remove)

    def metrics(self) -> dict[str, float]:
        """``train/gradient_cosine``, the mean over the steps since it was last asked; empty where
        no step had one before it, or a gradient was zero."""
        found, self._cosines = self._cosines, []
        return {"train/gradient_cosine": sum(found) / len(found)} if found else {}

    def _on_step(self, optimizer: torch.optim.Optimizer) -> None:
        new = {
            id(parameter): parameter.grad.detach().clone()
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None and id(parameter) in self._watched
        }
        if not new:
            return
        old = self._last.get(id(optimizer), {})
        self._last[id(optimizer)] = new
        cosine = _cosine(new, old)
        if cosine is not None:
            self._cosines.append(cosine)


def _cosine(new: dict[int, torch.Tensor], old: dict[int, torch.Tensor]) -> float | None:
    """Of what both have; None where one of them is zero."""
    both = [key for key in new if key in old]
    if not both:
        return None
    dot = sum(float((new[k].float() * old[k].float()).sum()) for k in both)
    squares = [sum(float(one[k].float().square().sum()) for k in both) for one in (new, old)]
    length = (squares[0] * squares[1]) ** 0.5
    return dot / length if length > 0 else None
