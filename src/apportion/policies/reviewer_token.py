"""Special tokens that name reviewers: in front of a prompt they lean a policy to one's style."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from apportion.errors import UserError, nearest

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_TOKEN = re.compile(r"<\|reviewer:(" + _NAME.pattern + r")\|>")
RESERVED = ("none",)  # what the command line calls no token at all


def reviewer_token(name: str) -> str:
    """``<|reviewer:NAME|>``.

    Raises UserError for a name that cannot stand in it, or is reserved.
    """
    if _NAME.fullmatch(name) is None:
        raise UserError(
            f"reviewer token: '{name}' cannot be a token's name: use letters, digits, '_', '.', '-'"
        )
    if name in RESERVED:
        raise UserError(f"reviewer token: '{name}' is reserved: give the reviewer another 'name'")
    return f"<|reviewer:{name}|>"


def token_names(tokenizer: Any) -> list[str]:
    """The reviewers that have a token, in the order of their ids."""
    known = sorted(tokenizer.get_added_vocab().items(), key=lambda item: item[1])
    return [match[1] for token, _ in known if (match := _TOKEN.fullmatch(token))]


def tokens_for(tokenizer: Any, names: Sequence[str]) -> str:
    """The tokens of these reviewers, as one text. Raises UserError where one has none."""
    known = token_names(tokenizer)
    for name in names:
        if name not in known:
            there = f"it has those of {', '.join(known)}" if known else "it has none"
            raise UserError(
                f"reviewer token: the policy knows no token of '{name}'{nearest(name, known)}; "
                f"{there} (objective reviewer_tokens trains them)"
            )
    return "".join(reviewer_token(name) for name in names)
