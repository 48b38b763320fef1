"""Models in evaluation mode for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def eval_mode(model: Any) -> Iterator[None]:
    """The model without dropout, and afterwards as it was. Gradients are recorded as before."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """The model without dropout and gradients, and afterwards as it was."""
    with eval_mode(model), torch.no_grad():
        yield
