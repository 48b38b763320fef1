"""A LoRA adapter that is on for a while, around a model that goes on being trained without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from apportion.errors import UserError

CONFIG_FILE = "adapter_config.json"
_NAME = "persona"


def check_adapter(path: Path) -> None:
    """Raises UserError where the folder holds no adapter."""
    if not (path / CONFIG_FILE).is_file():
        raise UserError(
            f"no adapter in '{path}' (there is no {CONFIG_FILE}): train one with "
            "'apportion train persona_words', and name its folder 'persona'"
        )


@contextmanager
def adapter_on(model: Any, path: Path) -> Iterator[Any]:
    """The model with the adapter of ``path`` put into it; afterwards it is as it was, to the bit:
    the same parameters, their ``requires_grad`` too. An adapter that the model has anyway (a
    policy trained by LoRA) stays on beside it.

    Raises UserError where there is no adapter, or it does not fit the model.
    """
    check_adapter(path)
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        with _put_in(model, path) as persona:
            yield persona
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


@contextmanager
def _put_in(model: Any, path: Path) -> Iterator[Any]:
    from peft import PeftModel

    if isinstance(model, PeftModel):
        tuner: Any = model.base_model
        own = model.active_adapters
        wrapped = _wrappers(model)
        with _readable(path):
            model.load_adapter(str(path), _NAME, is_trainable=False)
        try:
            tuner.set_adapter([*own, _NAME])
            yield model
        finally:
            tuner.set_adapter(own)
            model.delete_adapter(_NAME)
            # Deleting leaves empty wrappers around what the own adapter does not touch.
            for name in sorted(set(_wrappers(model)) - set(wrapped)):
                model.set_submodule(name, _wrappers(model)[name])
        return
    # Loading fills the layers that it puts in; where it fails halfway they are taken out again.
    with _readable(path):
        persona = _load(model, path)
    try:
        yield persona
    finally:
        persona.unload()


def _wrappers(model: Any) -> dict[str, Any]:
    """Names of the layers that hold adapters, and the layers inside them."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import TrainableTokensWrapper

    inner: dict[str, Any] = {}
    for name, module in model.named_modules():
        if isinstance(module, TrainableTokensWrapper):
            inner[name] = module.original_module
        elif isinstance(module, BaseTunerLayer) and ".token_adapter" not in name:
            inner[name] = module.get_base_layer()
    return inner


def _load(model: Any, path: Path) -> Any:
    from peft import PeftConfig, PeftModel, get_peft_model, load_peft_weights
    from peft import set_peft_model_state_dict as fill

    config = PeftConfig.from_pretrained(str(path))
    config.inference_mode = True
    persona = get_peft_model(model, config)
    assert isinstance(persona, PeftModel)
    try:
        fill(persona, load_peft_weights(str(path), device=str(model.device)))
    except BaseException:
        persona.unload()
        raise
    return persona


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"adapter '{path}' does not fit the policy: {reason} (use the policy that it was "
            "trained for)"
        ) from None
