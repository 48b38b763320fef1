"""Chains to imitate beside the policy gradient: a supervised term in the trainer's loss.

With the policy gradient switched off it is online rejection sampling or training on edits; with
both it adds Approach 2 (edit the chain, train on it) to Approach 1 (redistribute the reward).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch.nn.utils.rnn import pad_sequence

from apportion.train.grpo.batch import CreditedBatch


class Chain(NamedTuple):
    """A completion to imitate, for the prompt of the rollout it takes the place of.

    ``weights`` is parallel to ``token_ids``: 0 masks a token, 1 is plain supervised training.
    """

    token_ids: Sequence[int]
    weights: Sequence[float]


# For each rollout of the batch a chain, or None where there is nothing to imitate.
Imitator = Callable[[CreditedBatch], list[Chain | None]]


def imitation_tensors(chains: Sequence[Chain | None], pad_id: int) -> dict[str, torch.Tensor]:
    """``imitation_ids`` and ``imitation_weights``, both (B, T), for the trainer's buffer.

    The weights are scaled to a sum of B, so that the mean over micro-batches of any size of
    Σ w·(-log p) / rows is the weighted mean over the tokens of the whole batch.
    """
    ids = [torch.tensor(chain.token_ids if chain else [], dtype=torch.long) for chain in chains]
    weights = [torch.tensor(chain.weights if chain else []) for chain in chains]
    ids_BT = pad_sequence(ids, batch_first=True, padding_value=pad_id)
    weights_BT = pad_sequence(weights, batch_first=True).float()
    total = weights_BT.sum().clamp(min=1e-8)
    return {"imitation_ids": ids_BT, "imitation_weights": weights_BT * len(chains) / total}


def imitation_loss(
    log_probs: Callable[..., tuple[torch.Tensor, Any, Any]], model: Any, inputs: dict[str, Any]
) -> torch.Tensor:
    """Weighted negative log-likelihood of the chains of one micro-batch; 0 where it has none.

    ``log_probs`` is the trainer's ``_get_per_token_logps_and_entropies``; ``inputs`` holds
    prompt_ids and prompt_mask (B, P) beside the tensors of :func:`imitation_tensors`.
    """
    weights_BT = inputs["imitation_weights"]
    rows = weights_BT.sum(dim=1) > 0
    if not rows.any():
        return torch.stack([parameter.sum() for parameter in model.parameters()]).sum() * 0.0
    ids_BT, weights_BT = inputs["imitation_ids"][rows], weights_BT[rows]
    used = int((weights_BT > 0).any(dim=0).nonzero().max()) + 1
    ids_BT, weights_BT = ids_BT[:, :used], weights_BT[:, :used]
    prompt_ids, prompt_mask = inputs["prompt_ids"][rows], inputs["prompt_mask"][rows]
    # Padding stands after all that is weighted, so attending to it changes nothing before it.
    whole = torch.cat([prompt_ids, ids_BT], dim=1)
    mask = torch.cat([prompt_mask, torch.ones_like(ids_BT)], dim=1)
    logps_BT, _, _ = log_probs(model, whole, mask, used)
    return -(weights_BT * logps_BT).sum() / len(rows)
