"""Attention of many rows over keys and values that they share, beside a few of their own.

transformers calls the attention function that a model's configuration names. The one registered
here keeps what it is given as the rows' own keys and values, and lets each row attend to these and
to its trunk up to its cut. Models therefore run without a cache of theirs, and no row ever holds a
copy of a trunk.

    _N  trunks of a batch     _M  rows per trunk     _H  heads of keys and values
    _Q  queries of a row, times query heads per head of keys and values
    _L  tokens of a trunk     _T  a row's own tokens _D  size of a head
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

from apportion.policies.keys_values import keeping
from apportion.policies.trunk_plan import Trunk

NAME = "apportion_trunk"
KeysValues = list[tuple[Tensor, Tensor]]  # of each layer
_ACTIVE: ContextVar[Rows] = ContextVar("rows that attend to trunks")

# What a model may ask of attention that is more than keys, values and a window.
_UNSERVED = ("softcap", "s_aux", "sinks", "position_bias")


class Unserved(Exception):
    """This model, or a chain of this length, needs attention that is not built here."""


class Rows:
    """N x M rows over N trunks, with their own keys and values of every layer so far.

    ``trunks`` holds keys and values (N, H, L, D) of each layer. ``cuts_NM`` is where each row
    leaves its trunk, and ``pads_NM`` how many of its first own tokens are padding. Its own keys and
    values are allocated for ``room`` tokens: (N, H, M, room, D).
    """

    def __init__(self, trunks: KeysValues, cuts_NM: Tensor, pads_NM: Tensor, room: int) -> None:
        self.trunks = trunks
        self.room = room
        self.length = 0  # own tokens of each row, padding included
        self.own: dict[int, tuple[Tensor, Tensor]] = {}
        self._place(cuts_NM, pads_NM)
        self._own_mask: Tensor | None = None

    def _place(self, cuts_NM: Tensor, pads_NM: Tensor) -> None:
        self.cuts_NM, self.pads_NM = cuts_NM, pads_NM
        self._padded = bool(pads_NM.any())
        places_L = torch.arange(self.trunks[0][0].shape[2], device=cuts_NM.device)
        self._beyond = places_L >= cuts_NM[:, None, :, None, None]  # (N, 1, M, 1, L)

    def begin(self, queries: int) -> Tensor:
        """The next forward pass brings ``queries`` tokens a row; their positions (N*M, queries)."""
        device = self.cuts_NM.device
        keys_T = torch.arange(self.length + queries, device=device)
        new_Q = keys_T[self.length :]
        mask = None
        if self._padded:
            mask = (keys_T < self.pads_NM[..., None])[:, None, :, None, :]  # (N, 1, M, 1, T)
        if queries > 1:
            late_QT = keys_T > new_Q[:, None]
            mask = late_QT if mask is None else mask | late_QT
        self._own_mask = mask
        return (new_Q + (self.cuts_NM - self.pads_NM).reshape(-1, 1)).clamp(min=0)

    def end(self, queries: int) -> None:
        """The forward pass is over."""
        self.length += queries

    def fan_out(self, n: int) -> None:
        """Each row becomes ``n`` rows."""
        self.own = {
            layer: (keys.repeat_interleave(n, 2), values.repeat_interleave(n, 2))
            for layer, (keys, values) in self.own.items()
        }
        self._place(self.cuts_NM.repeat_interleave(n, 1), self.pads_NM.repeat_interleave(n, 1))

    def keep(self, trunk_N: Tensor, rows_NM: Tensor) -> None:
        """Of the trunks ``trunk_N`` the rows ``rows_NM`` remain, in that order."""
        if len(trunk_N) < len(self.cuts_NM):
            self.trunks = [(keys[trunk_N], values[trunk_N]) for keys, values in self.trunks]

        def pick(tensor: Tensor) -> Tensor:
            return tensor.transpose(1, 2)[trunk_N[:, None], rows_NM].transpose(1, 2).contiguous()

        self.own = {layer: (pick(k), pick(v)) for layer, (k, v) in self.own.items()}
        at = (trunk_N[:, None], rows_NM)
        self._place(self.cuts_NM[at], self.pads_NM[at])

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """(N*M, heads, queries, D) and new keys and values to (N*M, queries, heads, D)."""
        trunk_keys, trunk_values = self.trunks[layer]
        n, h, length, d = trunk_keys.shape
        m, q = self.cuts_NM.shape[1], query.shape[2]
        repeats = query.shape[1] // h
        keys, values = self._extend(layer, key, value)
        # (N*M, H*repeats, queries, D) to (N, H, M, Q, D): the rows of a trunk are one matrix.
        query_NHMQD = (query * scale).reshape(n, m, h, repeats * q, d).transpose(1, 2)
        query_NHMQD = query_NHMQD.contiguous()
        to_trunk = query_NHMQD.view(n, h, -1, d) @ trunk_keys.transpose(2, 3)
        to_trunk = to_trunk.view(n, h, m, repeats * q, length)
        to_trunk.masked_fill_(self._beyond, torch.finfo(query.dtype).min)
        to_own = self._mask_own(query_NHMQD @ keys.transpose(3, 4), repeats)
        weights = torch.cat([to_trunk, to_own], dim=-1).softmax(-1, dtype=torch.float32)
        weights = weights.to(value.dtype)
        out = weights[..., length:] @ values
        shared = weights[..., :length].reshape(n, h, -1, length) @ trunk_values
        out += shared.view(n, h, m, repeats * q, d)
        out = out.view(n, h, m, repeats, q, d).permute(0, 2, 4, 1, 3, 5)
        return out.reshape(n * m, q, h * repeats, d)

    def _mask_own(self, scores: Tensor, repeats: int) -> Tensor:
        mask = self._own_mask
        if mask is None:
            return scores
        if mask.shape[-2] > 1:  # a query's head and its place share a dimension, the place faster
            mask = mask.repeat(*[1] * (mask.dim() - 2), repeats, 1)
        return scores.masked_fill_(mask, torch.finfo(scores.dtype).min)

    def _extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        n, h, _, d = self.trunks[layer][0].shape
        m, q = self.cuts_NM.shape[1], key.shape[2]
        if layer not in self.own:
            shape = (n, h, m, self.room, d)
            self.own[layer] = (key.new_zeros(shape), value.new_zeros(shape))
        stop = self.length + q
        keys, values = self.own[layer]
        keys[..., self.length : stop, :] = key.view(n, m, h, q, d).transpose(1, 2)
        values[..., self.length : stop, :] = value.view(n, m, h, q, d).transpose(1, 2)
        return keys[..., :stop, :], values[..., :stop, :]


@contextmanager
def attending(model: Any, rows: Rows) -> Iterator[None]:
    """Within the block the model's attention is that of ``rows``."""
    token = _ACTIVE.set(rows)
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        if model.config._attn_implementation != NAME:
            raise Unserved("its attention cannot be replaced")
        yield
    finally:
        model.set_attn_implementation(before)
        _ACTIVE.reset(token)


def trunk_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """What transformers calls in every layer; (rows, heads, queries, D) in, heads last out."""
    rows = _ACTIVE.get()
    asked = [name for name in _UNSERVED if kwargs.get(name) is not None]
    if asked:
        raise Unserved(f"its attention has {asked[0]}")
    window = kwargs.get("sliding_window")
    if window is not None and rows.trunks[0][0].shape[2] + rows.room >= window:
        raise Unserved(f"its attention reaches back {window} tokens")
    layer = getattr(module, "layer_idx", None)
    if layer is None or layer >= len(rows.trunks) or key.shape[1] != rows.trunks[layer][0].shape[1]:
        raise Unserved("its layers keep keys and values in another way")
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    return rows.attend(layer, query, key, value, scale), None


AttentionInterface.register(NAME, trunk_attention)


def compute_trunks(model: Any, trunks: list[Trunk], pad: int) -> KeysValues:
    """Keys and values (N, H, L, D) of each layer; shorter trunks are padded on the right."""
    from transformers import DynamicCache

    longest = max(1, *(len(trunk.ids) for trunk in trunks))
    ids_NL = torch.full((len(trunks), longest), pad, device=model.device)
    for n, trunk in enumerate(trunks):
        ids_NL[n, : len(trunk.ids)] = torch.tensor(trunk.ids, device=model.device)
    cache: Any = DynamicCache()
    model.base_model(input_ids=ids_NL, **keeping(model.base_model, cache))
    return [(layer.keys, layer.values) for layer in cache.layers]
