"""Continues chains of thought from their middle: one call for many prefixes.

What the prefixes have in common is computed once: see :mod:`apportion.policies.trunk`.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch

from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.policies.modes import eval_mode
from apportion.policies.trunk import Sampling, sample_from_trunks, score_on_trunks
from apportion.policies.trunk_attention import Unserved
from apportion.policies.trunk_run import unserved_because
from apportion.trace import Problem

Engine = Literal["auto", "trunk", "simple"]


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
    engine: Engine = "auto",
) -> list[list[str]]:
    """``n`` continuations of each prefix, without the prefix; greedy at temperature 0.

    A prefix is tokenised by itself and put after the tokens of its prompt, so cut it where a token
    may end (a line end is safe). Prefixes of one problem share one key-value trunk, which is never
    copied; give the cuts of a chain, and of several chains, in one call. ``batch_size`` rows run
    together and do not change what is drawn.

    A model whose attention cannot be replaced (:func:`why_simple` says so) is continued by its own
    ``generate``, each prefix from its beginning: slower, the same distribution, other draws for a
    seed. ``engine`` "trunk" or "simple" insists. Raises UserError where a prefix does not fit into
    the context, and for engine "trunk" where the model does not allow it.
    """
    ids = [_prefix_ids(policy, prefix) for prefix in prefixes]
    for prefix, tokens in zip(prefixes, ids, strict=True):
        _check_context(policy, prefix, len(tokens), max_tokens)
    longest = max(map(len, ids), default=0) + max_tokens
    if _on_trunks(policy, longest, engine):
        pad = int(policy.tokenizer.pad_token_id)
        how = Sampling(n, temperature, max_tokens, seed, frozenset(policy._stop_ids()), pad)
        keys = [prefix.problem.id for prefix in prefixes]
        try:
            found = sample_from_trunks(_base_model(policy.model), ids, keys, how, batch_size)
        except Unserved as error:
            _insist(engine, str(error))
        else:
            return [_decoded(policy, chains) for chains in found]
    return _generate(policy, ids, n, temperature, max_tokens, seed, batch_size)


def score_texts(
    policy: LanguageModelPolicy,
    prefixes: Sequence[Prefix],
    texts: Sequence[str],
    batch_size: int = 64,
    *,
    engine: Engine = "auto",
) -> list[float]:
    """Natural log-probability of ``texts[i]`` after ``prefixes[i]``, summed over its tokens.

    A forward pass at temperature 1; nothing is sampled. Prefix and text are tokenised apart and
    joined, so the text begins where a token may begin; the end-of-text token counts only where the
    text spells it. An empty text has 0. Trunks are shared as in :func:`continue_chains`. Raises
    UserError where the numbers of prefixes and texts differ, where the two do not fit into the
    context, and for a policy that reasons in vectors.
    """
    return [sum(row) for row in score_pieces(
        policy, prefixes, [[text] for text in texts], batch_size, engine=engine
    )]  # fmt: skip


def score_pieces(
    policy: LanguageModelPolicy,
    prefixes: Sequence[Prefix],
    pieces: Sequence[Sequence[str]],
    batch_size: int = 64,
    *,
    engine: Engine = "auto",
) -> list[list[float]]:
    """Natural log-probability of each of ``pieces[i]`` after ``prefixes[i]`` and the pieces before
    it: what :func:`score_texts` gives for each, in one forward pass for all of a row.

    Raises UserError as :func:`score_texts` does.
    """
    if len(prefixes) != len(pieces):
        raise UserError(f"{len(prefixes)} prefixes and {len(pieces)} texts to score: give as many")
    if type(policy).generate_ids is not LanguageModelPolicy.generate_ids:
        raise UserError(f"policy {policy.name} does not reason in text: no text can be scored")
    before = [_prefix_ids(policy, prefix) for prefix in prefixes]
    parts = [[_text_ids(policy, piece) for piece in row] for row in pieces]
    after = [[token for part in row for token in part] for row in parts]
    for prefix, head, tail in zip(prefixes, before, after, strict=True):
        _check_context(policy, prefix, len(head), len(tail))
    scores = [[0.0] * len(row) for row in pieces]
    rows = sorted(
        (i for i, tail in enumerate(after) if tail), key=lambda i: (len(before[i]), len(after[i]))
    )
    heads, tails = [before[i] for i in rows], [after[i] for i in rows]
    keys = [prefixes[i].problem.id for i in rows]
    found = _scores(policy, heads, tails, keys, batch_size, engine)
    for i, score_K in zip(rows, found, strict=True):
        of_parts = score_K.split([len(part) for part in parts[i]])
        scores[i] = [float(some.sum()) for some in of_parts]
    return scores


def why_simple(policy: LanguageModelPolicy, length: int = 1) -> str:
    """Why chains of ``length`` tokens cannot share trunks with this model; empty if they can."""
    if type(policy).generate_ids is not LanguageModelPolicy.generate_ids:
        return "the policy generates in a way of its own"
    return unserved_because(_base_model(policy.model), length)


def _on_trunks(policy: LanguageModelPolicy, length: int, engine: Engine) -> bool:
    if engine == "simple":
        return False
    reason = why_simple(policy, length)
    if reason:
        _insist(engine, reason)
    return not reason


def _insist(engine: Engine, reason: str) -> None:
    if engine == "trunk":
        raise UserError(f"this model cannot be continued from shared trunks: {reason}")


def _decoded(policy: LanguageModelPolicy, chains: list[list[int]]) -> list[str]:
    return list(policy.tokenizer.batch_decode(chains, skip_special_tokens=True))


def _generate(
    policy: LanguageModelPolicy,
    ids: Sequence[list[int]],
    n: int,
    temperature: float,
    max_tokens: int,
    seed: int,
    batch_size: int,
) -> list[list[str]]:
    """By the model's own ``generate``, every row from its beginning."""
    # Prefixes of like length share a batch: a short one would be padded through a long one.
    rows = sorted((r for r in range(len(ids)) for _ in range(n)), key=lambda r: len(ids[r]))
    found: list[list[str]] = [[] for _ in ids]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            completions = policy.generate_ids([ids[row] for row in batch], temperature, max_tokens)
            for row, text in zip(batch, _decoded(policy, completions), strict=True):
                found[row].append(text)
    return found


def _scores(
    policy: LanguageModelPolicy,
    before: list[list[int]],
    after: list[list[int]],
    keys: list[str],
    batch_size: int,
    engine: Engine,
) -> list[torch.Tensor]:
    """Log-probability of each token of ``after``."""
    longest = max((len(b) + len(a) for b, a in zip(before, after, strict=True)), default=0)
    if _on_trunks(policy, longest, engine):
        pad = int(policy.tokenizer.pad_token_id)
        model = _base_model(policy.model)
        try:
            return score_on_trunks(model, before, after, keys, pad=pad, batch_size=batch_size)
        except Unserved as error:
            _insist(engine, str(error))
    scores: list[torch.Tensor] = []
    with eval_mode(policy.model):
        for start in range(0, len(before), batch_size):
            chunk = slice(start, start + batch_size)
            scores += _score_whole(policy, before[chunk], after[chunk])
    return scores


@torch.no_grad()
def _score_whole(
    policy: LanguageModelPolicy, before: Sequence[list[int]], after: Sequence[list[int]]
) -> list[torch.Tensor]:
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
        scores.append(logps_TV.gather(1, chosen_T[:, None]).squeeze(1))
    return scores


def _base_model(model: Any) -> Any:
    """The model under an adapter of peft, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _prefix_ids(policy: LanguageModelPolicy, prefix: Prefix) -> list[int]:
    ids = [*policy.prompt_ids(prefix.problem), *_text_ids(policy, prefix.text)]
    if not ids:
        raise UserError(f"problem {prefix.problem.id}: there is nothing to continue: no prompt")
    return ids


def _text_ids(policy: LanguageModelPolicy, text: str) -> list[int]:
    return list(policy.tokenizer(text, add_special_tokens=False).input_ids)


def _check_context(
    policy: LanguageModelPolicy, prefix: Prefix, length: int, max_tokens: int
) -> None:
    context = getattr(policy.model.config, "max_position_embeddings", None)
    if context and length + max_tokens > context:
        raise UserError(
            f"problem {prefix.problem.id}: prompt and beginning of {length} tokens and "
            f"{max_tokens} new ones exceed the context of {context}: lower max_tokens"
        )
