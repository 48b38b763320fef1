"""Log-probabilities of given tokens after given tokens, with a gradient where one is wanted."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from apportion.policies.modes import eval_mode


def token_logps(
    model: Any, pad_id: int, before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]
) -> list[torch.Tensor]:
    """Natural log-probability of each token of ``after[i]`` after ``before[i]``, (T_i,) float32.

    One forward pass at temperature 1, differentiable unless gradients are off. Rows are padded on
    the right, where a causal model does not see it. Raises ValueError where nothing stands before
    a token to score.
    """
    if any(tail and not head for head, tail in zip(before, after, strict=True)):
        raise ValueError("nothing stands before the tokens to score")
    rows = [[*head, *tail] for head, tail in zip(before, after, strict=True)]
    longest = max(map(len, rows))
    device = next(model.parameters()).device
    ids_BT = torch.full((len(rows), longest), pad_id, device=device)
    mask_BT = torch.zeros_like(ids_BT)
    for b, row in enumerate(rows):
        ids_BT[b, : len(row)] = torch.tensor(row, device=device)
        mask_BT[b, : len(row)] = 1
    # Only the positions that predict a token to score need a row of the vocabulary.
    first = min(map(len, before)) - 1
    keep = {"logits_to_keep": longest - first} if _can_skip_logits(model) else {}
    logits_BTV = model(input_ids=ids_BT, attention_mask=mask_BT, **keep).logits
    logits_BTV = logits_BTV[:, -(longest - first) :]
    found = []
    for b, (head, tail) in enumerate(zip(before, after, strict=True)):
        begin = len(head) - 1 - first
        logps_TV = logits_BTV[b, begin : begin + len(tail)].float().log_softmax(-1)
        chosen_T = torch.tensor(list(tail), dtype=torch.long, device=device)
        found.append(logps_TV.gather(1, chosen_T[:, None]).squeeze(1))
    return found


@torch.no_grad()
def score_tokens(
    model: Any,
    pad_id: int,
    before: Sequence[Sequence[int]],
    after: Sequence[Sequence[int]],
    *,
    batch_size: int = 64,
) -> list[torch.Tensor]:
    """As :func:`token_logps`, without a gradient, the model in evaluation mode, in batches of rows
    of like length."""
    order = sorted(range(len(before)), key=lambda i: (len(before[i]), len(after[i])))
    found: list[torch.Tensor] = [torch.empty(0)] * len(before)
    with eval_mode(model):
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            logps = token_logps(
                model, pad_id, [before[i] for i in batch], [after[i] for i in batch]
            )
            for i, logps_T in zip(batch, logps, strict=True):
                found[i] = logps_T
    return found


def _can_skip_logits(model: Any) -> bool:
    """Looks under the wrappers of data-parallel training and of adapters."""
    model = getattr(model, "module", model)
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "logits_to_keep" in inspect.signature(base.forward).parameters
