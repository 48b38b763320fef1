"""What training costs, counted while the model runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import torch

from apportion.policies.keys_values import kept
from apportion.policies.latent.cells.soft import SoftCell
from apportion.policies.latent.lean import last_feed_forward
from apportion.train.measure.flops import BACKWARD, ModelSizes, forward_flops, is_product, sizes_of


class CostMeter:
    """Counts FLOPs and generated tokens of a model, by hooks on its passes.

    A pass that records gradients counts with its backward pass, and padding counts: the machine
    computes it. Copies of the model that are made later (a helper, a guide) share the meter.
    ``copies`` is how many sets of weights a pass stands for, where several are evaluated in one
    batch; then tokens cannot be told apart, and ``counts_tokens`` is to be False.

    ``flops`` and ``tokens`` are totals. A token is counted when it is chosen, the end of text too.
    """

    def __init__(self, model: Any, *, copies: float = 1.0, counts_tokens: bool = True) -> None:
        network = getattr(model, "network", model)  # that of a latent policy
        base = network.get_base_model() if hasattr(network, "peft_config") else network
        self.flops, self.tokens = 0.0, 0
        self._sizes = sizes_of(base)
        self._copies, self._counts_tokens = copies, counts_tokens
        self._paused = False
        self._stops = _stops(base)
        base.cost_meter = self  # what runs beside the network tells it there
        base.base_model.register_forward_pre_hook(self._on_body, with_kwargs=True)
        base.register_forward_pre_hook(self._on_fused, with_kwargs=True)
        head = base.get_output_embeddings()
        if head is not None:
            head.register_forward_pre_hook(self._on_head)
        self._positions, self._spared = 0, 0
        self._watch_what_is_spared(base)
        # A latent policy has layers beside its network: a cell, a head that halts.
        inside = set(base.modules())
        for module in model.modules():
            if isinstance(module, torch.nn.Linear) and module not in inside:
                module.register_forward_pre_hook(self._on_layer)
            elif isinstance(module, SoftCell):
                module.register_forward_pre_hook(self._on_mixture)

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def metrics(self, examples: int) -> dict[str, float]:
        """The totals as metrics of docs/metrics.md."""
        return {
            "cost/flops": self.flops,
            "cost/generated_tokens": float(self.tokens),
            "cost/examples": float(examples),
        }

    def beside(self, *, body: int, head: int, attention: int, rows: int, length: int) -> None:
        """Count a pass of layers that run beside the network; sizes as in ``flops.ModelSizes``."""
        if not self._paused:
            self._add(ModelSizes(body, head, attention), rows, length, 0)

    def go_on_from(self, metrics: Mapping[str, Any]) -> None:
        """Take up the totals that a run recorded before it was interrupted."""
        self.flops = float(metrics.get("cost/flops", self.flops))
        self.tokens = int(metrics.get("cost/generated_tokens", self.tokens))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What runs within is not counted: measuring a model is not training it."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def _on_body(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._paused:
            return
        ids_BT = kwargs.get("input_ids", args[0] if args else None)
        read = ids_BT if ids_BT is not None else kwargs.get("inputs_embeds")
        if read is None:
            return
        cache = kept(kwargs)
        past = 0 if cache is None else int(cache.get_seq_length())
        rows, length = read.shape[:2]
        self._positions = rows * length
        self._add(self._sizes._replace(head=0), rows, length, past)
        writes = cache is not None and not torch.is_grad_enabled()
        if self._counts_tokens and ids_BT is not None and writes:
            self.tokens += self._chosen(ids_BT, past)

    def _watch_what_is_spared(self, base: Any) -> None:
        """A latent policy's questions need the last layer's feed-forward at one position alone."""
        block = last_feed_forward(base)
        inside: list[Any] = list(filter(is_product, block.modules())) if block is not None else []
        if inside:
            self._spared = sum(module.weight.numel() for module in inside)
            inside[0].register_forward_pre_hook(self._on_last_block)

    def _on_last_block(self, module: Any, args: tuple[Any, ...]) -> None:
        left_out = self._positions - args[0].shape[:-1].numel()
        if left_out > 0 and not self._paused:
            self._add(ModelSizes(-self._spared, 0, 0), left_out, 1, 0)

    def _on_head(self, module: Any, args: tuple[Any, ...]) -> None:
        if not self._paused:
            positions = args[0].shape[:-1].numel()
            self._add(ModelSizes(self._sizes.head, 0, 0), positions, 1, 0)

    def _on_layer(self, module: torch.nn.Linear, args: tuple[Any, ...]) -> None:
        if not self._paused:
            positions = args[0].shape[:-1].numel()
            self._add(ModelSizes(module.weight.numel(), 0, 0), positions, 1, 0)

    def _on_mixture(self, module: SoftCell, args: tuple[Any, ...]) -> None:
        """Embeddings weighted by probabilities; the logits behind them are counted at the head."""
        if not self._paused:
            self._add(ModelSizes(self._sizes.head, 0, 0), args[0].shape[:-1].numel(), 1, 0)

    def _on_fused(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """TRL's head computes log-probabilities from the weights without calling the module, and
        its logits once more in the backward pass (``trl/kernels/chunked_logprob.py``)."""
        read = kwargs.get("input_ids", args[0] if args else None)
        if not kwargs.get("fused_lm_head") or self._paused or read is None:
            return
        head, rows, length = ModelSizes(self._sizes.head, 0, 0), read.shape[0], read.shape[1] - 1
        self._add(head, rows, length, 0)
        if torch.is_grad_enabled():
            self.flops += self._copies * forward_flops(head, rows, length)

    def _add(self, sizes: ModelSizes, rows: int, length: int, past: int) -> None:
        passes = 1 + BACKWARD * torch.is_grad_enabled()
        self.flops += passes * self._copies * forward_flops(sizes, rows, length, past=past)

    def _chosen(self, ids_BT: torch.Tensor, past: int) -> int:
        """Tokens that this pass is run to choose: one for each row, less those that have ended."""
        if not past:
            return len(ids_BT)
        if ids_BT.shape[1] != 1:
            return 0
        stops = torch.tensor(self._stops, dtype=ids_BT.dtype, device=ids_BT.device)
        return int((~torch.isin(ids_BT[:, 0], stops)).sum())


def _stops(network: Any) -> list[int]:
    """Ids after which a row is written no further: ends of text, and padding."""
    found: list[int] = []
    for settings in (network.config, network.generation_config):
        for value in (settings.eos_token_id, settings.pad_token_id):
            found += value if isinstance(value, list) else [] if value is None else [value]
    return sorted(set(found))
