"""Runs a model over trunks: the first forward pass of a batch, the next ones, and if it can."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from apportion.policies.modes import evaluating
from apportion.policies.trunk_attention import KeysValues, Rows, attending, compute_trunks
from apportion.policies.trunk_plan import Trunk

_REASONS: WeakKeyDictionary[Any, str] = WeakKeyDictionary()  # model to why not, "" if served

# Settings under which ``generate`` would not sample from the model's own distribution.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "repetition_penalty": (None, 1.0),
    "encoder_repetition_penalty": (None, 1.0),
    "no_repeat_ngram_size": (None, 0),
    "min_length": (None, 0),
    "min_new_tokens": (None, 0),
    "min_p": (None,),
    "top_h": (None,),
    "typical_p": (None, 1.0),
    "epsilon_cutoff": (None, 0.0),
    "eta_cutoff": (None, 0.0),
    "num_beams": (None, 1),
    "guidance_scale": (None, 1.0),
    **dict.fromkeys(
        ["bad_words_ids", "suppress_tokens", "begin_suppress_tokens", "forced_bos_token_id",
         "forced_eos_token_id", "sequence_bias", "exponential_decay_length_penalty",
         "stop_strings", "watermarking_config"],
        (None,),
    ),
}  # fmt: skip


def unserved_because(model: Any, length: int) -> str:
    """Why ``model`` cannot run on trunks with chains of ``length`` tokens; empty if it can.

    The attention is tried once for each model: a chain in two parts must get the logits that it
    gets in one piece.
    """
    generation = getattr(model, "generation_config", None)
    for name, neutral in _NEUTRAL.items():
        if getattr(generation, name, None) not in neutral:
            return f"its generation_config sets {name}"
    config = model.config
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    if rope.get("rope_type") in ("dynamic", "longrope"):
        return "its rotary positions depend on the length"
    if length >= (getattr(config, "attention_chunk_size", None) or length + 1):
        return "its attention is cut into chunks"
    window = getattr(config, "sliding_window", None)
    if window and length >= window:
        return f"its attention reaches back {window} tokens"
    if model not in _REASONS:
        _REASONS[model] = _try(model)
    return _REASONS[model]


def _try(model: Any) -> str:
    vocabulary = model.get_input_embeddings().weight.shape[0]
    ids = [(7 * i * i + 3 * i + 1) % vocabulary for i in range(12)]
    with evaluating(model):
        whole_V = model(input_ids=torch.tensor([ids], device=model.device)).logits[0, -1].float()
        try:
            trunks = [Trunk(ids[:8], [(0, 8), (1, 5)])]
            _, last_BKV = start(model, trunks, [ids, ids], 0)
        except Exception as error:  # whatever it stumbles over, it is not made for this
            return str(error) or type(error).__name__
    tolerance = 1e-3 if whole_V.dtype == model.dtype else 0.1
    gap = (last_BKV[:, -1].float() - whole_V).abs().max() / whole_V.std().clamp(min=1e-6)
    return "" if float(gap) < tolerance else "its logits differ when a chain comes in two parts"


def start(
    model: Any,
    trunks: list[Trunk],
    chains: Sequence[Sequence[int]],
    pad: int,
    *,
    computed: KeysValues | None = None,
    room: int = 0,
    keep: int = 1,
) -> tuple[Rows, Tensor]:
    """The rows after what each chain has beyond its trunk, and the logits of its last ``keep``
    tokens (N*M, keep, V). Places that a trunk has no chain for repeat its first one."""
    most = max(len(trunk.members) for trunk in trunks)
    members = [trunk.members + [trunk.members[0]] * (most - len(trunk.members)) for trunk in trunks]
    tails = [list(chains[i][cut:]) for row in members for i, cut in row]
    longest = max(map(len, tails))
    device = model.device
    cuts_NM = torch.tensor([[cut for _, cut in row] for row in members], device=device)
    pads_NM = torch.tensor([longest - len(tail) for tail in tails], device=device)
    ids_BT = torch.tensor([[pad] * (longest - len(t)) + t for t in tails], device=device)
    computed = computed or compute_trunks(model, trunks, pad)
    rows = Rows(computed, cuts_NM, pads_NM.view(len(trunks), most), longest + room)
    return rows, forward(model, rows, ids_BT, keep)


def forward(model: Any, rows: Rows, ids_BT: Tensor, keep: int = 1) -> Tensor:
    """The next tokens (N*M, queries) of the rows; logits of the last ``keep`` (N*M, keep, V)."""
    queries = ids_BT.shape[1]
    options: dict[str, Any] = {"position_ids": rows.begin(queries), "use_cache": False}
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        options["logits_to_keep"] = keep
    with attending(model, rows):
        logits_BKV = model(input_ids=ids_BT, **options).logits[:, -keep:]
    rows.end(queries)
    return logits_BKV
