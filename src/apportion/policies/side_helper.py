"""A helper that stands beside the policy and only adds to its logits.

    log q(r_t | x, a, r_<t) = log softmax(logits_p + W delta_t)     delta_t = side(states of p, a)

The side network reads hidden states of the policy and the answer; W is the policy's own head, and
its last layer begins at zero, so that q begins as p and can only gain by what the answer tells. A
copy of the policy that is fine-tuned instead first loses what the policy knows, which on few chains
costs more than the answer gives.

    _B  rows      _T  tokens of a row      _D  size of a hidden state      _V  vocabulary
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, scaled_dot_product_attention, silu

from apportion.errors import UserError
from apportion.policies.modes import eval_mode


class SideNetwork(nn.Module):
    """States of the middle and the last layer and the answer, as the mean embedding of its tokens,
    to delta (B, T, D): one block of causal attention and a gated layer. ``share`` of the states is
    dropped in training."""

    def __init__(self, state: int, width: int, heads: int, hidden: int, share: float) -> None:
        super().__init__()
        self.heads, self.share = heads, share
        self.inner, self.norm = nn.Linear(2 * state, width), nn.LayerNorm(width)
        self.norm_answer = nn.LayerNorm(state)
        self.asks = nn.Linear(width + state, width)
        self.keys, self.values = nn.Linear(width, width), nn.Linear(width, width)
        self.read, self.norm_read = nn.Linear(width, width), nn.LayerNorm(width)
        self.gate = nn.Linear(width + state, hidden)
        self.up = nn.Linear(width + state, hidden)
        self.down = nn.Linear(hidden, state)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, states_BTS: Tensor, answer_BD: Tensor) -> Tensor:
        inside_BTW = self.inner(dropout(states_BTS, self.share, self.training))
        answer_BTD = self.norm_answer(answer_BD)[:, None].expand(-1, inside_BTW.shape[1], -1)
        normed_BTW = self.norm(inside_BTW)
        asks, keys, values = (
            x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for x in (
                self.asks(torch.cat([normed_BTW, answer_BTD], -1)),
                self.keys(normed_BTW),
                self.values(normed_BTW),
            )
        )
        found = scaled_dot_product_attention(asks, keys, values, is_causal=True)
        inside_BTW = inside_BTW + self.read(found.transpose(1, 2).flatten(-2))
        told = torch.cat([self.norm_read(inside_BTW), answer_BTD], -1)
        return self.down(silu(self.gate(told)) * self.up(told))


class SideModel(nn.Module):
    """``network`` beside ``trunk``, a causal language model, called as one.

    A row is the tokens of the answer, ``end_id``, and the text; what it gives for the first two has
    no meaning. The trunk reads the text alone and is neither trained nor part of ``parameters``.
    """

    def __init__(self, network: SideNetwork, trunk: Any, end_id: int) -> None:
        super().__init__()
        self.network = network
        self.end_id = end_id
        self._trunk = (trunk,)  # in a tuple, or it would be a part of this module

    @property
    def trunk(self) -> Any:
        return self._trunk[0]

    @property
    def config(self) -> Any:
        return self.trunk.config

    @property
    def device(self) -> torch.device:
        return self.trunk.device

    def on(self, trunk: Any) -> SideModel:
        """The same network beside another trunk of the same shape."""
        return SideModel(self.network, trunk, self.end_id)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> SimpleNamespace:
        """``logits`` (B, T, V). Rows are padded on the right."""
        begins_B = (input_ids == self.end_id).int().argmax(1) + 1
        length = input_ids.shape[1]
        column_T = torch.arange(length, device=input_ids.device)
        at_BT = (begins_B[:, None] + column_T).clamp_max(length - 1)
        inside_BT = begins_B[:, None] + column_T < length
        ids_BT = input_ids.gather(1, at_BT)
        mask_BT = attention_mask.gather(1, at_BT) * inside_BT
        states_BTS, logits_BTV = self._read(ids_BT, mask_BT)
        of_answer_BT = column_T < begins_B[:, None] - 1
        delta_BTD = self.network(states_BTS, self._mean(input_ids, of_answer_BT))
        head = self.trunk.get_output_embeddings().weight.detach()
        self._count(states_BTS, head)
        logits_BTV = logits_BTV + delta_BTD.to(head.dtype) @ head.T
        back_BT = (column_T - begins_B[:, None]).clamp_min(0)
        found_BTV = logits_BTV.gather(1, back_BT[..., None].expand_as(logits_BTV))
        return SimpleNamespace(logits=found_BTV)

    def _count(self, states_BTS: Tensor, head: Tensor) -> None:
        """Tell the cost meter of the trunk, where it has one."""
        inside = getattr(self.trunk, "get_base_model", lambda: self.trunk)()
        meter = getattr(inside, "cost_meter", None)
        if meter is not None:
            layers = [m for m in self.network.modules() if isinstance(m, nn.Linear)]
            meter.beside(
                body=sum(layer.weight.numel() for layer in layers),
                head=head.numel(),
                attention=self.network.read.in_features,
                rows=states_BTS.shape[0],
                length=states_BTS.shape[1],
            )

    @torch.no_grad()
    def _read(self, ids_BT: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Middle and last states of the trunk side by side, and its logits."""
        with eval_mode(self.trunk):
            found = self.trunk(
                input_ids=ids_BT, attention_mask=mask_BT, output_hidden_states=True, use_cache=False
            )
        layers = found.hidden_states
        states_BTS = torch.cat([layers[len(layers) // 2], layers[-1]], -1)
        return states_BTS.float(), found.logits.float()

    @torch.no_grad()
    def _mean(self, ids_BT: Tensor, of_answer_BT: Tensor) -> Tensor:
        """Mean embedding of the answer's tokens, (B, D); zero where it has none."""
        embeds_BTD = self.trunk.get_input_embeddings()(ids_BT).float() * of_answer_BT[..., None]
        return embeds_BTD.sum(1) / of_answer_BT.sum(1, keepdim=True).clamp_min(1)


def beside(trunk: Any, end_id: int, *, width: int, share: float, seed: int) -> SideModel:
    """An untrained side model of ``trunk``; ``width`` is a multiple of 4.

    Raises UserError for a trunk whose embeddings are of another size than its states.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        size = trunk.get_output_embeddings().weight.shape[1]
        if trunk.get_input_embeddings().weight.shape[1] != size:
            raise UserError("helper.kind side needs embeddings as large as states: use kind copy")
        network = SideNetwork(size, width, heads=4, hidden=2 * width, share=share)
    return SideModel(network.to(trunk.device), trunk, end_id)


def side_prompt(answer: Sequence[int], end_id: int, prompt: Sequence[int]) -> list[int]:
    """The row of a side model before anything is written. The end mark inside an answer would cut
    it short, so it is left out there."""
    return [*(token for token in answer if token != end_id), end_id, *prompt]
