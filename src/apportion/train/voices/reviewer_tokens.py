"""Puts reviewer tokens into a model's vocabulary, and takes them out again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from apportion.errors import UserError
from apportion.policies.reviewer_token import reviewer_token, token_names

# Attribute of the model's configuration, saved with it: what was added, and the size before.
_MARK = "reviewer_tokens"


def add_reviewer_tokens(model: Any, tokenizer: Any, names: Sequence[str]) -> dict[str, int]:
    """Token ids by reviewer. New embeddings (input and output) start at the mean of the others,
    and sampling never writes the tokens.

    Reviewers that this function gave a token before keep it. The tokenizer is changed in place.
    A model whose embedding has rows to spare (padding beyond the tokenizer's vocabulary) uses
    those first.

    Raises UserError for a name that occurs twice or cannot be a token's, for a token that the
    vocabulary holds already with another meaning, and for a model wrapped by peft.
    """
    _refuse(model, tokenizer, names)
    mark = _mark_of(model)
    before = len(tokenizer)
    rows = model.get_input_embeddings().weight.shape[0]
    new = [name for name in names if name not in mark["names"]]
    _extend(tokenizer, [reviewer_token(name) for name in new])
    ids = {name: int(tokenizer.convert_tokens_to_ids(reviewer_token(name))) for name in names}
    if new:
        needed = 1 + max(ids[name] for name in new)
        if needed > rows:
            model.resize_token_embeddings(needed, mean_resizing=False)
        _start_at_mean(model, [ids[name] for name in new], before)
        _suppress(model, [*_suppressed(model), *(ids[name] for name in new)])
        known = {"names": [*mark["names"], *new], "rows": mark["rows"] or rows}
        setattr(model.config, _MARK, known)
    return ids


def remove_reviewer_tokens(model: Any, tokenizer: Any) -> Any:
    """Take all reviewer tokens out of the model, in place, and return a tokenizer without them.

    The vocabulary has its old size again, and every other logit is what it was, to the bit.
    Raises UserError where the model has no reviewer tokens.
    """
    mark = _mark_of(model)
    if not mark["names"]:
        raise UserError("reviewer tokens: this model has none that could be removed")
    tokens = [reviewer_token(name) for name in mark["names"]]
    ids = set(tokenizer.convert_tokens_to_ids(tokens))
    model.resize_token_embeddings(mark["rows"], mean_resizing=False)
    _suppress(model, [token for token in _suppressed(model) if token not in ids])
    delattr(model.config, _MARK)
    return _without(tokenizer, set(tokens))


def _refuse(model: Any, tokenizer: Any, names: Sequence[str]) -> None:
    if hasattr(model, "peft_config"):
        raise UserError("reviewer tokens: merge the policy's LoRA adapter first (policy.lora)")
    ours = _mark_of(model)["names"]
    vocabulary = tokenizer.get_vocab()
    for name in names:
        token = reviewer_token(name)
        if list(names).count(name) > 1:
            raise UserError(f"reviewer tokens: '{name}' occurs twice: give each its own 'name'")
        if token in vocabulary and name not in ours:
            raise UserError(
                f"reviewer tokens: '{token}' is in the vocabulary already (id "
                f"{vocabulary[token]}) and may mean something else: give the reviewer another "
                "'name'"
            )


def _mark_of(model: Any) -> dict[str, Any]:
    return getattr(model.config, _MARK, None) or {"names": [], "rows": None}


def _extend(tokenizer: Any, tokens: Sequence[str]) -> None:
    from tokenizers import AddedToken

    tokenizer.add_tokens(
        [AddedToken(token, special=True, normalized=False) for token in tokens],
        special_tokens=True,
    )


def _start_at_mean(model: Any, ids: Sequence[int], vocabulary: int) -> None:
    """Set the rows ``ids`` to the mean over the first ``vocabulary`` rows."""
    tables = [model.get_input_embeddings(), model.get_output_embeddings()]
    # Tied tables are one tensor and get the same mean twice.
    with torch.no_grad():
        for table in tables:
            if table is None:
                continue
            table.weight[ids] = table.weight[:vocabulary].float().mean(dim=0).to(table.weight)
            if getattr(table, "bias", None) is not None:
                table.bias[ids] = table.bias[:vocabulary].mean()


def _suppressed(model: Any) -> list[int]:
    return list(model.generation_config.suppress_tokens or [])


def _suppress(model: Any, ids: Sequence[int]) -> None:
    model.generation_config.suppress_tokens = list(ids) or None


def _without(tokenizer: Any, tokens: set[str]) -> Any:
    """A copy of the tokenizer that lacks these tokens: there is no way to take one out of it."""
    with TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            file = Path(folder) / name
            content = _pruned(json.loads(file.read_text(encoding="utf-8")), tokens)
            file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        restored = type(tokenizer).from_pretrained(folder)
    assert not set(token_names(restored)) & tokens
    restored.padding_side = tokenizer.padding_side
    return restored


def _pruned(value: Any, tokens: set[str]) -> Any:
    """The JSON value without the entries, of lists and objects, that are about these tokens."""
    if isinstance(value, dict):
        return {
            key: _pruned(inner, tokens)
            for key, inner in value.items()
            if key not in tokens and not _is_about(inner, tokens)
        }
    if isinstance(value, list):
        return [_pruned(inner, tokens) for inner in value if not _is_about(inner, tokens)]
    return value


def _is_about(value: Any, tokens: set[str]) -> bool:
    if isinstance(value, dict):
        return value.get("content") in tokens
    return isinstance(value, str) and value in tokens
