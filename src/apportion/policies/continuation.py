"""Continues chains of thought from their middle: one call for many prefixes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

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
    ids = [
        [*policy.prompt_ids(problem), *policy.tokenizer(text, add_special_tokens=False).input_ids]
        for problem, text in prefixes
    ]
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
