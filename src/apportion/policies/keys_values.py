"""How a transformers network is given the cache of its keys and values.

Newer versions call it ``cache``, earlier ones ``past_key_values``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache as remembered
from typing import Any

_NAMES = ("cache", "past_key_values")


def keeping(network: Any, cache: Any) -> dict[str, Any]:
    """The arguments with which ``network`` reads ``cache`` and adds to it."""
    return {_name_of(type(network)): cache, "use_cache": True}


def kept(arguments: Mapping[str, Any]) -> Any:
    """The cache among the arguments by name of a network's forward pass, or None."""
    return next((c for name in _NAMES if (c := arguments.get(name)) is not None), None)


@remembered
def _name_of(kind: type) -> str:
    named = _named(kind)
    if named is None:
        # A wrapper that passes on whatever it gets.
        from transformers import LlamaModel

        named = _named(LlamaModel)
    assert named is not None
    return named


def _named(kind: Any) -> str | None:
    known = inspect.signature(kind.forward).parameters
    return next((name for name in _NAMES if name in known), None)
