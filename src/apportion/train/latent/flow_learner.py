"""One update of a policy that thinks by a flow."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from apportion.config import RunConfig
from apportion.errors import UserError
from apportion.policies.flow.model import FlowModel, Trajectory
from apportion.policies.flow.policy import FlowPolicy
from apportion.policies.latent.batch import LatentBatch, pad_batch
from apportion.train.checkpoints import load_optimisation, save_optimisation
from apportion.train.latent.methods.example import Example

_STATE = "flow_state.pt"


class FlowLearner:
    """AdamW on the network, the start and the field.

    Raises UserError where a number is not finite.
    """

    def __init__(self, policy: FlowPolicy, config: RunConfig) -> None:
        self.policy, self.done = policy, 0
        self._settings = config.flow
        self._warmup = config.train.warmup_updates
        rate = config.train.learning_rate
        own = [p for name, p in policy.model.named_parameters() if not name.startswith("decoder.")]
        network = [p for p in policy.model.decoder.parameters() if p.requires_grad]
        self._weights = [*network, *own]
        self._rates = [rate, rate * config.flow.field_rate]
        self._optimizer = torch.optim.AdamW(
            [{"params": network}, {"params": own}],
            lr=rate,
            weight_decay=config.flow.weight_decay,
        )

    def update(self, examples: Sequence[Example]) -> dict[str, float]:
        """Learn from a batch; returns the metrics of docs/metrics.md."""
        started = time.monotonic()
        model = self.policy.model
        model.train()
        self._optimizer.zero_grad()
        batch = pad_batch(
            [e.question for e in examples],
            [e.answer for e in examples],
            0,
            self.policy.tokenizer.pad_token_id,
        ).to(model.device)
        loss, metrics = losses(model, batch, self._settings)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self._weights, self._settings.clip or math.inf).item()
        if not (math.isfinite(loss.item()) and math.isfinite(norm)):
            raise UserError(
                f"update {self.done + 1}: the loss of the flow is {loss.item()}, the norm of its "
                f"gradient {norm}: lower train.learning_rate or flow.field_rate"
            )
        warm = min(1.0, (self.done + 1) / max(1, self._warmup))
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * warm
        self._optimizer.step()
        model.eval()
        self.done += 1
        return metrics | {
            "train/grad_norm": norm,
            "train/learning_rate": self._rates[0] * warm,
            "train/seconds": time.monotonic() - started,
        }

    def save(self, folder: Path) -> None:
        """Write model, optimiser and random numbers."""
        self.policy.save(folder)
        save_optimisation(folder / _STATE, self.done, optimizer=self._optimizer)

    def load(self, folder: Path) -> None:
        """Go on from what ``save`` wrote. The policy has to be read from the folder as well."""
        self.done = load_optimisation(folder / _STATE, optimizer=self._optimizer)


def losses(model: FlowModel, batch: LatentBatch, settings: Any) -> tuple[Tensor, dict[str, float]]:
    """What ``config.FlowConfig`` says is minimised, nats a token of the answers, and the figures.

    ``settings`` needs ``learning``, ``reach`` and ``start_weight``.
    """
    regresses = settings.learning == "regression"
    path = model.flow(batch.questions, detach=regresses)
    tokens = batch.mask_BA.sum()
    end_B = model.answer_logps(path.z[-1], batch)
    loss = -end_B.sum() / tokens
    start_B = end_B
    if model.steps:
        with torch.set_grad_enabled(settings.start_weight > 0):
            start_B = model.answer_logps(path.z[0], batch)
    if settings.start_weight:
        loss = loss - settings.start_weight * start_B.sum() / tokens
    metrics = {
        "train/loss": -end_B.sum().item() / int(tokens),
        "flow/gain": (end_B - start_B).mean().item(),
        "flow/distance": (path.z[-1] - path.z[0]).detach().flatten(1).norm(dim=1).mean().item(),
    }
    if regresses and model.steps:
        error, alignment = _regression(model, batch, path, settings.reach)
        loss = loss + error
        metrics |= {"flow/regression": error.item(), "flow/alignment": alignment}
    return loss, metrics


def _regression(
    model: FlowModel, batch: LatentBatch, path: Trajectory, reach: float
) -> tuple[Tensor, float]:
    """Mean squared error of the velocities against the cut gradients, summed over a thought and
    averaged over points and rows, and the mean cosine of the two."""
    error, cosine = path.z[0].new_zeros(()), 0.0
    for z_BMD, v_BMD in zip(path.z, path.v, strict=False):
        wanted_BMD = reach * steepest(model, batch, z_BMD)
        error = error + (v_BMD - wanted_BMD).square().sum((1, 2)).mean() / model.steps
        found = torch.cosine_similarity(v_BMD.detach().flatten(1), wanted_BMD.flatten(1), dim=1)
        cosine += found.mean().item() / model.steps
    return error, cosine


def steepest(model: FlowModel, batch: LatentBatch, z_BMD: Tensor) -> Tensor:
    """d log p(answer | z) / dz, (B, M, D), of each row with its norm cut to 1; no gradient."""
    z_BMD = z_BMD.detach().requires_grad_()
    with torch.enable_grad():
        (gradient_BMD,) = torch.autograd.grad(model.answer_logps(z_BMD, batch).sum(), z_BMD)
    norm_B = gradient_BMD.flatten(1).norm(dim=1).clamp_min(1.0)
    return gradient_BMD / norm_B[:, None, None]
