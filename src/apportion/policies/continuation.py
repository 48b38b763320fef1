"""Continues chains of thought from their middle: one call for many prefixes."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.trace import Problem


class Prefix(NamedTuple):
    """The beginning of a completion of ``problem``."""

    problem: Problem
    text: str


def continue_chains(
    policy: LanguageModelPolicy,
    prefixes: Sequence[Prefix],
    *,
    n: int = 1,
    temperature: float = 1.0,
    max_tokens: int = 256,
    seed: int = 0,
    batch_size: int = 128,
) -> list[list[str]]:
    """``n`` continuations of each prefix, without the prefix; greedy at temperature 0.

    A prefix is tokenised by itself and put after the tokens of its prompt, so cut it where a token
    may end (a line end is safe). Raises UserError where a prefix does not fit into the context.
    """
    ids = [_prefix_ids(policy, prefix) for prefix in prefixes]
    _check_context(policy, prefixes, ids, max_tokens)
    # Prefixes of like length share a batch: a short one would be padded through a long one.
    rows = sorted((r for r in range(len(ids)) for _ in range(n)), key=lambda r: len(ids[r]))
    found: list[list[str]] = [[] for _ in prefixes]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            completions = policy.generate_ids([ids[row] for row in batch], temperature, max_tokens)
            for row, tokens in zip(batch, completions, strict=True):
                found[row].append(policy.decode(tokens)[0])
    return found


def score_texts(
    policy: LanguageModelPolicy,
    prefixes: Sequence[Prefix],
    texts: Sequence[str],
    batch_size: int = 64,
) -> list[float]:
    """Natural log-probability of ``texts[i]`` after ``prefixes[i]``, summed over its tokens.

    A forward pass at temperature 1; nothing is sampled. Prefix and text are tokenised apart and
    joined, so the text begins where a token may begin; the end-of-text token counts only where the
    text spells it. An empty text has 0. Raises UserError where the numbers of prefixes and texts
    differ, and where the two do not fit into the context.
    """
    if len(prefixes) != len(texts):
        raise UserError(f"{len(prefixes)} prefixes and {len(texts)} texts to score: give as many")
    before = [_prefix_ids(policy, prefix) for prefix in prefixes]
    after = [list(policy.tokenizer(text, add_special_tokens=False).input_ids) for text in texts]
    for prefix, head, tail in zip(prefixes, before, after, strict=True):
        _check_context(policy, [prefix], [head], len(tail))
        if tail and not head:
            raise UserError(f"problem {prefix.problem.id}: nothing stands before the text to score")
    rows = sorted(
        (i for i, tail in enumerate(after) if tail), key=lambda i: (len(before[i]), len(after[i]))
    )
    scores = [0.0] * len(texts)
    was_training = policy.model.training
    policy.model.eval()
    try:
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            found = _score(policy, [before[i] for i in batch], [after[i] for i in batch])
            for i, score in zip(batch, found, strict=True):
                scores[i] = score
    finally:
        policy.model.train(was_training)
    return scores


@torch.no_grad()
def _score(
    policy: LanguageModelPolicy, before: Sequence[list[int]], after: Sequence[list[int]]
) -> list[float]:
    """Rows padded on the right, where a causal model cannot see it."""
    rows = [head + tail for head, tail in zip(before, after, strict=True)]
    longest = max(map(len, rows))
    device = policy.model.device
    ids_BT = torch.full((len(rows), longest), policy.tokenizer.pad_token_id, device=device)
    mask_BT = torch.zeros_like(ids_BT)
    for b, row in enumerate(rows):
        ids_BT[b, : len(row)] = torch.tensor(row, device=device)
        mask_BT[b, : len(row)] = 1
    # Only the positions that predict a token of a text need a row of the vocabulary.
    first = min(map(len, before)) - 1
    keep: dict[str, Any] = {}
    if "logits_to_keep" in inspect.signature(_base_model(policy.model).forward).parameters:
        keep = {"logits_to_keep": longest - first}
    logits_BTV = policy.model(input_ids=ids_BT, attention_mask=mask_BT, **keep).logits
    logits_BTV = logits_BTV[:, -(longest - first) :].float()
    scores = []
    for b, (head, tail) in enumerate(zip(before, after, strict=True)):
        begin = len(head) - 1 - first
        logps_TV = logits_BTV[b, begin : begin + len(tail)].log_softmax(-1)
        chosen_T = torch.tensor(tail, device=device)
        scores.append(float(logps_TV.gather(1, chosen_T[:, None]).sum()))
    return scores


def _base_model(model: Any) -> Any:
    """The model under an adapter of peft, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _prefix_ids(policy: LanguageModelPolicy, prefix: Prefix) -> list[int]:
    text_ids = policy.tokenizer(prefix.text, add_special_tokens=False).input_ids
    return [*policy.prompt_ids(prefix.problem), *text_ids]


def _check_context(
    policy: LanguageModelPolicy,
    prefixes: Sequence[Prefix],
    ids: Sequence[Sequence[int]],
    max_tokens: int,
) -> None:
    context = getattr(policy.model.config, "max_position_embeddings", None)
    for prefix, tokens in zip(prefixes, ids, strict=True):
        if context and len(tokens) + max_tokens > context:
            raise UserError(
                f"problem {prefix.problem.id}: prompt and beginning of {len(tokens)} tokens and "
                f"{max_tokens} new ones exceed the context of {context}: lower max_tokens"
            )
