"""A transformer of about a million parameters, small enough to train in minutes on two cores."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy

_CHECKPOINTS = Path(__file__).parent / "checkpoints"
SHIPPED = {
    "shipped": _CHECKPOINTS / "words_tiny",
    "sums": _CHECKPOINTS / "sums_tiny",
    # Ground truth of faithfulness, see recipes/ground_truth_*.yaml.
    "faithful": _CHECKPOINTS / "faithful_tiny",
    "ignores": _CHECKPOINTS / "ignores_tiny",
    "hidden_hint": _CHECKPOINTS / "hidden_hint_tiny",
    "open_hint": _CHECKPOINTS / "open_hint_tiny",
    "wording": _CHECKPOINTS / "wording_tiny",
}
END = "<|end|>"
PAD = "<|pad|>"


def train_tokenizer(
    texts: Iterable[str], vocab_size: int = 768, *, numbers: Literal["digits", "whole"] = "digits"
) -> Any:
    """Byte-level BPE trained on the texts; a blank before a number joins it, which saves a token.

    ``numbers`` "digits" makes each digit a token, so that a small model learns column arithmetic;
    "whole" lets frequent numbers become one token: shorter chains, and a table to learn.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    number = r" ?\d+" if numbers == "whole" else r" ?\d"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(number + r"| ?[^\s\d]+|\s"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def build_model(
    tokenizer: Any,
    *,
    hidden_size: int = 128,
    layers: int = 4,
    heads: int = 4,
    context: int = 512,
    initializer_range: float = 0.02,
    seed: int = 0,
) -> Any:
    """An untrained Llama-shaped model for the tokenizer, float32, embeddings tied; its weights are
    drawn with standard deviation ``initializer_range``."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=3 * hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=context,
        initializer_range=initializer_range,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def load_tiny(checkpoint: str = "shipped", name: str = "tiny") -> LanguageModelPolicy:
    """Load a warm-started checkpoint: "shipped" (task words), "sums", a folder, or for task routes
    "faithful", "ignores", "hidden_hint", "open_hint" and "wording".

    Raises UserError where the folder holds no model.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = SHIPPED.get(checkpoint) or Path(checkpoint)
    if not (folder / "config.json").is_file():
        raise UserError(
            f"policy.checkpoint: no model in '{folder}': write one with "
            "'apportion train warm_start', or use 'shipped' or 'sums'"
        )
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return LanguageModelPolicy(model, tokenizer, name)
