"""Floating-point operations of a transformer, from its sizes and the tokens that it reads.

A multiplication and an addition are two operations. Only matrix products count: the weights, 2 for
each weight and token, and attention, whose scores and mixture of values take 4 for each head, its
dimension, query and key (Kaplan et al. 2020, arXiv 2001.08361, section 2.1, with every key counted,
masked or not: so do machine and torch.utils.flop_counter). A backward pass costs twice the forward.
"""

from __future__ import annotations

from typing import Any, NamedTuple

BACKWARD = 2  # passes of the forward's cost: the gradients of the inputs and of the weights


class ModelSizes(NamedTuple):
    """``body``: weights that every token meets; ``head``: those of the output embeddings, which
    every position with logits meets; ``attention``: layers x heads x head dimension."""

    body: int
    head: int
    attention: int


def forward_flops(
    sizes: ModelSizes, rows: int, tokens: int, *, past: int = 0, logits: int | None = None
) -> int:
    """A forward pass of ``rows`` x ``tokens`` positions after ``past`` cached ones.

    ``logits`` is how many positions of a row go through the head (default: all).
    """
    read = tokens if logits is None else logits
    weights = 2 * rows * (tokens * sizes.body + read * sizes.head)
    return weights + 4 * rows * tokens * (past + tokens) * sizes.attention


def training_flops(sizes: ModelSizes, rows: int, tokens: int) -> int:
    """Forward and backward of a batch: three times its forward."""
    return (1 + BACKWARD) * forward_flops(sizes, rows, tokens)


def generation_flops(sizes: ModelSizes, rows: int, prompt: int, written: int) -> int:
    """``written`` tokens after a prompt with a key-value cache; the last is chosen and not read.

    The prompt is one pass with the logits of its last position, and then every token is a pass
    over the cache, so that the lengths that are seen sum to an arithmetic series.
    """
    if written < 1:
        return 0
    steps = written - 1
    seen = steps * prompt + steps * (steps + 1) // 2
    stepping = 2 * rows * steps * (sizes.body + sizes.head) + 4 * rows * seen * sizes.attention
    return forward_flops(sizes, rows, prompt, logits=1) + stepping


def is_product(module: Any) -> bool:
    """Whether a module multiplies by a matrix of weights."""
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, Linear | Conv1D)


def sizes_of(network: Any) -> ModelSizes:
    """The sizes of a transformers ``...ForCausalLM``. All experts of a mixture count."""
    head = network.get_output_embeddings()
    body = sum(
        module.weight.numel()
        for module in network.modules()
        if is_product(module) and module is not head
    )
    config = network.config.get_text_config()
    heads = getattr(config, "num_attention_heads", 0) or 0
    width = getattr(config, "head_dim", None) or (config.hidden_size // heads if heads else 0)
    return ModelSizes(
        body=body,
        head=0 if head is None else head.weight.numel(),
        attention=config.num_hidden_layers * heads * width,
    )
