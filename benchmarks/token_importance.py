"""How much each token of a chain moves what follows it: one token at a time is blotted out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from apportion.errors import UserError
from apportion.policies.modes import evaluating
from apportion.policies.trunk_attention import compute_trunks
from apportion.policies.trunk_plan import Trunk
from apportion.policies.trunk_run import start, unserved_because


def token_importance(
    model: Any,
    before: Sequence[int],
    reasoning: Sequence[int],
    after: Sequence[int],
    blot: int,
    *,
    batch_size: int = 16,
) -> list[float]:
    """KL(p || p_i) in nats for each token i of ``reasoning``, all given as token ids.

    p is the distribution of the token that follows ``before``, ``reasoning`` and ``after``, and p_i
    the same with token i replaced by ``blot``: the importance by perturbation of Outcome-grounded
    Advantage Reshaping. Keys and values of what stands before token i are computed once for all,
    and ``batch_size`` neighbours, whose remainders are of like length, run together. Raises
    UserError where there is nothing before the reasoning, where all of it does not fit into the
    context, and for a model whose attention cannot be replaced.
    """
    whole = [*before, *reasoning, *after]
    _check(model, before, whole)
    chains = [[*whole[:i], blot, *whole[i + 1 :]] for i in _places(before, reasoning)]
    with evaluating(model):
        trunk = Trunk([*before, *reasoning][:-1])
        computed = compute_trunks(model, [trunk], blot)
        _, last_1KV = start(
            model, [Trunk(trunk.ids, [(0, len(trunk.ids))])], [whole], blot, computed=computed
        )
        p_V = last_1KV[0, -1].float().log_softmax(-1)
        found: list[Tensor] = []
        for first in range(0, len(chains), batch_size):
            rows = range(first, min(first + batch_size, len(chains)))
            members = [(i, len(before) + i) for i in rows]
            # None of them looks further than the last cut.
            end = members[-1][1]
            seen = [(keys[:, :, :end], values[:, :, :end]) for keys, values in computed]
            _, last_BKV = start(
                model, [Trunk(trunk.ids[:end], members)], chains, blot, computed=seen
            )
            q_BV = last_BKV[:, -1].float().log_softmax(-1)
            found.append((p_V.exp() * (p_V - q_BV)).sum(-1))
    return torch.cat(found).tolist() if found else []


def _places(before: Sequence[int], reasoning: Sequence[int]) -> range:
    return range(len(before), len(before) + len(reasoning))


def _check(model: Any, before: Sequence[int], whole: Sequence[int]) -> None:
    if not before:
        raise UserError("there is nothing before the reasoning: give the prompt's tokens")
    context = getattr(model.config, "max_position_embeddings", None)
    if context and len(whole) > context:
        raise UserError(f"a chain of {len(whole)} tokens exceeds the context of {context}")
    if reason := unserved_because(model, len(whole)):
        raise UserError(f"this model cannot be continued from shared trunks: {reason}")
