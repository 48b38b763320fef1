"""How much a token of reasoning moves the policy towards an answer: one number, three names.

    h_t = log q(r_t | x, a, r_<t) - log p(r_t | x, r_<t)

p is the policy, q the *helper*, which reads the answer before the question. With the true posterior
q it is log p(a | x, r_<=t) - log p(a | x, r_<t) (Bayes), so that its sum over the reasoning is
log p(a | x, r) - log p(a | x). The same number is the token reward of the two-stage helper, the
velocity of CoT-Flow (2601.09260) and the log of the ratio h/pi of hindsight credit (1912.02503).

    _T  tokens of one chain    _V  vocabulary
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from apportion.policies.language_model import LanguageModelPolicy
from apportion.policies.modes import eval_mode
from apportion.trace import Problem


class Chain(NamedTuple):
    """Token ids of a question, of the same question behind an answer, and of the reasoning."""

    prompt: Sequence[int]
    answer_first: Sequence[int]
    ids: Sequence[int]


class Velocity(NamedTuple):
    """Of each token of a chain, (T,) float64: ``h_T`` in nats; ``mean_T``, what h is on average
    over the tokens the policy could write there, which is -KL(p || q) and never above 0;
    ``logps_T``, log p of the token under the policy."""

    h_T: np.ndarray
    mean_T: np.ndarray
    logps_T: np.ndarray


def answer_first(problem: Problem, answer: str, prompt: str) -> Problem:
    """The problem as the helper reads it; ``prompt`` has places {answer} and {prompt}."""
    text = prompt.replace("{answer}", answer, 1).replace("{prompt}", problem.prompt, 1)
    return problem.model_copy(update={"prompt": text})


def velocities(
    policy: LanguageModelPolicy,
    helper: LanguageModelPolicy,
    chains: Sequence[Chain],
    *,
    batch_size: int = 32,
) -> list[Velocity]:
    """The velocity of every token of every chain, in order; nothing is sampled."""
    rows = sorted(range(len(chains)), key=lambda i: len(chains[i].ids))
    found: list[Velocity] = [Velocity(*(np.zeros(0),) * 3) for _ in chains]
    pad = policy.tokenizer.pad_token_id
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        ids = [chains[i].ids for i in batch]
        ours = next_logps(policy.model, [chains[i].prompt for i in batch], ids, pad)
        theirs = next_logps(helper.model, [chains[i].answer_first for i in batch], ids, pad)
        for i, p_TV, q_TV in zip(batch, ours, theirs, strict=True):
            found[i] = _velocity(p_TV, q_TV, chains[i].ids)
    return found


def _velocity(p_TV: torch.Tensor, q_TV: torch.Tensor, ids: Sequence[int]) -> Velocity:
    chosen_T = torch.tensor(list(ids), device=p_TV.device)[:, None]
    ratio_TV = q_TV - p_TV
    numbers = (
        ratio_TV.gather(1, chosen_T)[:, 0],
        (p_TV.exp() * ratio_TV).sum(-1).clamp_max(0),  # rounding may lift it above
        p_TV.gather(1, chosen_T)[:, 0],
    )
    return Velocity(*(x.double().cpu().numpy() for x in numbers))


@torch.no_grad()
def next_logps(
    model: Any, before: Sequence[Sequence[int]], after: Sequence[Sequence[int]], pad_id: int
) -> Iterator[torch.Tensor]:
    """For each row log-probabilities (T, V) float32 of what may stand in place of each token of
    ``after``, given ``before`` and the tokens in between."""
    rows = [[*head, *tail] for head, tail in zip(before, after, strict=True)]
    longest = max(map(len, rows))
    ids_BT = torch.full((len(rows), longest), pad_id, device=model.device)
    mask_BT = torch.zeros_like(ids_BT)
    for b, row in enumerate(rows):  # padding on the right, where a causal model cannot see it
        ids_BT[b, : len(row)] = torch.tensor(row, device=model.device)
        mask_BT[b, : len(row)] = 1
    first = min(map(len, before)) - 1
    keep = {"logits_to_keep": longest - first} if _keeps(model) else {}
    with eval_mode(model):
        logits_BTV = model(input_ids=ids_BT, attention_mask=mask_BT, **keep).logits
    logits_BTV = logits_BTV[:, -(longest - first) :]
    for b, (head, tail) in enumerate(zip(before, after, strict=True)):
        begin = len(head) - 1 - first
        yield logits_BTV[b, begin : begin + len(tail)].float().log_softmax(-1)


def _keeps(model: Any) -> bool:
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "logits_to_keep" in inspect.signature(base.forward).parameters
