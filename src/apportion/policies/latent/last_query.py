"""The last layer's attention at the last position alone, for networks of transformers.

Where only the final state of the last position is read, the last layer's other positions need keys
and values and nothing else.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

_NAME = "sdpa_last_query"
_CONFIGS: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()


@contextmanager
def last_query(attention: Any) -> Iterator[None]:
    """Within the block ``attention`` looks around from its last position only; what it says of the
    others is what it says of the last. Nothing changes but for attention by ``sdpa``."""
    config = attention.config
    if config._attn_implementation != "sdpa":
        yield
        return
    if attention not in _CONFIGS:
        _CONFIGS[attention] = copy.copy(config)
        _CONFIGS[attention]._attn_implementation_internal = _NAME
    out = getattr(attention, "o_proj", None) or getattr(attention, "c_proj", None)
    hook = None if out is None else out.register_forward_pre_hook(last_position)
    attention.config = _CONFIGS[attention]
    try:
        yield
    finally:
        attention.config = config
        if hook is not None:
            hook.remove()


def last_position(block: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """Hook. What comes out is added to the states of all positions, so one position is spread over
    them."""
    return (given[0][:, -1:], *given[1:])


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    mask = None if attention_mask is None else attention_mask[..., -1:, :]
    found, _ = sdpa_attention_forward(module, query[:, :, -1:], key, value, mask, **options)
    return found.expand(-1, query.shape[2], -1, -1), None


ALL_ATTENTION_FUNCTIONS.register(_NAME, _attend)
