"""Noise that tells the latent chains of one problem apart.

Without it every rollout of a group thinks the same, and only the sampling of the answer differs.
Each kind is drawn once for a batch of rollouts and can be replayed, so that the pass that is
differentiated sees what the pass that was sampled saw.

_B rollouts   _E size of an embedding   _D size of a hidden state   _K latent steps   _V vocabulary
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from apportion.errors import UserError
from apportion.policies.latent.model import Disturb, LatentModel
from apportion.policies.latent.options import SoftOptions

NoiseKind = Literal["dropout", "gumbel", "gaussian", "none"]


def draw_noise(
    model: LatentModel, kind: NoiseKind, rows: int, steps: int, strength: float
) -> Disturb | None:
    """What ``LatentModel.disturb`` takes, for ``rows`` rollouts of ``steps`` steps; None for none.

    "dropout": one mask for a rollout, the same at all its steps; kept values are scaled by
    1 / (1 - strength) (Dropout-GRPO, arXiv 2606.10184). "gaussian": strength x the root mean square
    of the latent x normal noise, new at each step. "gumbel": z' = sum_v p_v E_v with
    p = softmax((logits + strength x g_v) / temperature), g Gumbel noise, new at each step
    (arXiv 2508.03440). Raises UserError for gumbel with another cell than soft, and for dropout of
    everything.
    """
    if kind == "none":
        return None
    size, device = model.decoder.embedding_size, model.device
    if kind == "dropout":
        if strength >= 1:
            raise UserError("latent.learning.strength: dropout at 1 leaves nothing of a latent")
        kept_BE = (torch.rand(rows, size) >= strength).to(device, model.decoder.dtype)
        mask_BE = kept_BE / (1 - strength)
        return lambda latent_BE, _hidden, _step: latent_BE * mask_BE
    if kind == "gaussian":
        noise_KBE = torch.randn(steps, rows, size).to(device, model.decoder.dtype)
        return lambda latent_BE, _hidden, step: (
            latent_BE
            + strength * latent_BE.detach().square().mean(-1, keepdim=True).sqrt() * noise_KBE[step]
        )
    return _gumbel(model, rows, steps, strength)


def _gumbel(model: LatentModel, rows: int, steps: int, strength: float) -> Disturb:
    options, decoder = model.options, model.decoder
    if not isinstance(options, SoftOptions) or options.top_k is not None:
        raise UserError(
            "latent.learning.noise gumbel moves the logits of latent.cell soft (without top_k): "
            "use that cell, or noise dropout or gaussian"
        )
    uniform_KBV = torch.rand(steps, rows, len(decoder.embeddings())).clamp_min(1e-9)
    noise_KBV = (-(-uniform_KBV.log()).clamp_min(1e-9).log()).to(model.device, decoder.dtype)

    def disturbed(_latent_BE: Tensor, hidden_BD: Tensor, step: int) -> Tensor:
        logits_BV = decoder.logits(hidden_BD) + strength * noise_KBV[step]
        return (logits_BV / options.temperature).softmax(-1) @ decoder.embeddings()

    return disturbed
