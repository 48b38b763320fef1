"""One model under several sets of weights at once: P perturbations in one batch.

Suffixes: _P sets of weights, _B rows, _T tokens, _V vocabulary.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.func import functional_call, vmap

from apportion.errors import UserError
from apportion.policies.keys_values import keeping
from apportion.policies.language_model import LanguageModelPolicy
from apportion.policies.modes import eval_mode

Stack = Mapping[str, torch.Tensor]
KeysValues = list[tuple[torch.Tensor, torch.Tensor]]


class StackedWeights:
    """Forward passes and completions of ``policy`` with stacked weights: name to (P, *shape).

    Weights that the stack leaves out are the model's own, shared by all P. The rows are the same
    under each set of weights. Raises UserError for a model whose forward pass torch.func cannot
    batch over weights.
    """

    def __init__(self, policy: LanguageModelPolicy) -> None:
        self._policy = policy
        self._model = policy.model

    @torch.no_grad()
    def logits(self, stack: Stack, ids_BT: torch.Tensor) -> torch.Tensor:
        """(P, B, T, V) of rows without padding on the left: a causal model needs no mask then."""
        positions_T = torch.arange(ids_BT.shape[1], device=ids_BT.device)[None]

        def forward(weights: Stack) -> torch.Tensor:
            return self._call(
                weights, input_ids=ids_BT, position_ids=positions_T, use_cache=False
            ).logits

        return self._batched(forward, stack)

    @torch.no_grad()
    def generate(
        self,
        stack: Stack,
        prompts: Sequence[Sequence[int]],
        temperature: float,
        max_tokens: int,
        seed: int = 0,
    ) -> list[list[list[int]]]:
        """P x B completions, each up to and with its end of text; greedy at temperature 0.

        Sampled tokens are the argmax of logits / temperature + Gumbel noise; all P share the
        noise of a row, so that what differs between them is the weights.
        """
        encoded = self._policy.tokenizer.pad(
            {"input_ids": [list(ids) for ids in prompts]}, return_tensors="pt"
        ).to(self._model.device)
        ids_BT, mask_BT = encoded["input_ids"], encoded["attention_mask"]
        stops = torch.tensor(sorted(self._policy._stop_ids()), device=ids_BT.device)
        generator = torch.Generator(device=ids_BT.device).manual_seed(seed)
        logits_PBV, cache = self._prefill(stack, ids_BT, mask_BT)
        chosen: list[torch.Tensor] = []
        done_PB = torch.zeros(logits_PBV.shape[:2], dtype=torch.bool, device=ids_BT.device)
        for _ in range(max_tokens):
            next_PB = _choose(logits_PBV, temperature, generator)
            chosen.append(next_PB)
            done_PB |= torch.isin(next_PB, stops)
            if done_PB.all() or len(chosen) == max_tokens:
                break
            mask_BT = torch.cat([mask_BT, torch.ones_like(mask_BT[:, :1])], dim=1)
            logits_PBV, cache = self._step(stack, next_PB, mask_BT, cache)
        rows = torch.stack(chosen, dim=-1).tolist()
        return [[self._policy._cut(ids) for ids in of_one] for of_one in rows]

    # -- the model's passes ----------------------------------------------------------------------

    def _prefill(
        self, stack: Stack, ids_BT: torch.Tensor, mask_BT: torch.Tensor
    ) -> tuple[torch.Tensor, KeysValues]:
        positions_BT = (mask_BT.cumsum(-1) - 1).clamp_min(0)

        def forward(weights: Stack) -> Any:
            return self._cached(
                weights, [], input_ids=ids_BT, attention_mask=mask_BT, position_ids=positions_BT
            )

        return self._batched(forward, stack)

    def _step(
        self, stack: Stack, next_PB: torch.Tensor, mask_BT: torch.Tensor, cache: KeysValues
    ) -> tuple[torch.Tensor, KeysValues]:
        positions_B1 = mask_BT.sum(-1, keepdim=True) - 1
        # An additive mask, since building one looks at values, which a batched pass cannot.
        dtype = next(iter(stack.values())).dtype
        bias_B11T = torch.zeros(mask_BT.shape, dtype=dtype, device=mask_BT.device)
        bias_B11T = bias_B11T.masked_fill(mask_BT == 0, torch.finfo(dtype).min)[:, None, None]

        def forward(weights: Stack, next_B: torch.Tensor, past: KeysValues) -> Any:
            return self._cached(
                weights,
                past,
                input_ids=next_B[:, None],
                attention_mask=bias_B11T,
                position_ids=positions_B1,
            )

        return self._batched(forward, stack, next_PB, cache)

    def _cached(self, weights: Stack, past: KeysValues, **inputs: Any) -> Any:
        """The last position's logits (B, V), and keys and values of each layer."""
        from transformers import DynamicCache

        cache = DynamicCache()
        for layer, (keys, values) in enumerate(past):
            cache.update(keys, values, layer)
        output = self._call(weights, **keeping(self._model, cache), **inputs)
        layers: list[Any] = cache.layers
        return output.logits[:, -1], [(layer.keys, layer.values) for layer in layers]

    def _call(self, weights: Stack, **inputs: Any) -> Any:
        return functional_call(self._model, dict(weights), (), inputs)

    def _batched(self, forward: Callable[..., Any], stack: Stack, *others: Any) -> Any:
        try:
            with eval_mode(self._model), warnings.catch_warnings():
                # Fused attention is not batched over weights but called for each: still exact.
                warnings.filterwarnings("ignore", message=".*not yet implemented the batching rule")
                return vmap(forward)(dict(stack), *others)
        except (RuntimeError, ValueError, AttributeError, TypeError) as error:
            if "out of memory" in str(error):
                raise UserError(
                    "several perturbations at once do not fit into memory: lower evolution.parallel"
                ) from None
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"{type(self._model).__name__} cannot be evaluated under several weights at once "
                f"({reason}): use evolution.parallel: 1"
            ) from None


def _choose(
    logits_PBV: torch.Tensor, temperature: float, generator: torch.Generator
) -> torch.Tensor:
    if temperature <= 0:
        return logits_PBV.argmax(-1)
    uniform_BV = torch.rand(
        logits_PBV.shape[1:], generator=generator, device=logits_PBV.device, dtype=torch.float32
    ).clamp(1e-20, 1 - 1e-7)
    gumbel_BV = -torch.log(-torch.log(uniform_BV))
    return (logits_PBV.float() / temperature + gumbel_BV).argmax(-1)
