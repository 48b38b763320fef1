"""The model that is trained."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from apportion.config.section import Section

_OPTIONS_OF_KIND = {
    "tiny": {"checkpoint"},
    "pretrained": {"model", "gguf_file", "revision", "lora", "chat", "dtype"},
    "latent": {"model", "steps", "chat"},
    "flow": {"model", "steps", "chat"},
    "scripted": {"completions"},
}


class PolicyConfig(Section):
    """The model that is trained. Options belong to a kind, and another kind refuses them.

    ``checkpoint`` (tiny) is ``shipped`` or a folder. ``model`` (pretrained) is a hub id, a local
    folder, the path of a GGUF file, or ``package:NAME``; (latent) a folder that objective
    ``latent`` wrote, with ``steps`` for another number of latent steps. ``lora`` holds options of
    peft.LoraConfig, such as ``r`` and ``lora_alpha``. ``reviewer_token`` names the reviewer to
    whose style a policy leans that was trained with objective ``reviewer_tokens``.
    """

    kind: Literal["tiny", "pretrained", "latent", "flow", "scripted"] = "tiny"
    checkpoint: str | None = None
    model: str | None = None
    gguf_file: str | None = None
    revision: str | None = None
    lora: dict[str, Any] | None = None
    chat: bool | None = None
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    steps: int | None = Field(default=None, ge=0)
    completions: Any = None
    reviewer_token: str | None = None

    @model_validator(mode="after")
    def _options_fit_kind(self) -> Self:
        own = _OPTIONS_OF_KIND[self.kind]
        for kind, options in _OPTIONS_OF_KIND.items():
            given = sorted(name for name in options - own if getattr(self, name) is not None)
            if given:
                raise ValueError(f"{given[0]} is an option of kind {kind}, not of {self.kind}")
        if self.kind == "pretrained" and self.model is None:
            raise ValueError("kind pretrained needs a model: a hub id, a path, or package:NAME")
        if self.kind in ("latent", "flow") and self.model is None:
            raise ValueError(
                f"kind {self.kind} needs a model: a folder that objective {self.kind} wrote"
            )
        return self
