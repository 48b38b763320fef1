"""What the helper q(reasoning | question, answer) can be told."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from apportion.config.section import Section


class HelperConfig(Section):
    """The helper: it sees the answer before the question, and says which reasoning leads there.
    Read by the credit methods ``hindsight`` and ``flow``.

    ``kind`` "side" is a network of ``width`` beside the policy that adds to its logits and begins
    at nothing; ``dropout`` is the share of the policy's states that it does without in training.
    "copy" is a copy of the policy that is trained whole; ``prompt`` is what it reads, with
    ``{answer}`` and ``{prompt}``, and ``lora`` holds options of peft.LoraConfig and trains an
    adapter instead.

    Stage 1: ``updates`` batches of ``batch_size`` of the policy's own completions of ``problems``
    training problems, ``samples`` each, every one under the answer that it reached; or none, where
    ``checkpoint`` names a folder with a helper that was trained before. An eighth of the problems
    is kept back; ``checks`` times it is looked at, and the best weights win.

    Every ``refresh_every`` updates (0: never) it learns ``refresh_updates`` further batches from
    the last ``buffer`` completions of training. ``against`` is what log q is compared with: the
    policy that writes now, or the one of the last refresh ("refreshed"), as the post has it.

    Training stops when ``patience`` updates in a row KL(policy || helper) is above ``kl_limit``
    nats a token of reasoning (0: no alarm), or the correlation of the helper's reward with the
    true log p(answer | question, reasoning) is below ``correlation_floor`` (-1: no alarm).
    """

    kind: Literal["side", "copy"] = "side"
    width: int = Field(default=64, ge=4, multiple_of=4)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    weight_decay: float = Field(default=0.1, ge=0)
    prompt: str = "#### {answer}\n{prompt}"
    checkpoint: str | None = None
    lora: dict[str, object] | None = None
    problems: int = Field(default=512, ge=4)
    samples: int = Field(default=8, ge=1)
    updates: int = Field(default=150, ge=0)
    checks: int = Field(default=5, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    refresh_every: int = Field(default=10, ge=0)
    refresh_updates: int = Field(default=10, ge=1)
    buffer: int = Field(default=512, ge=1)
    against: Literal["policy", "refreshed"] = "policy"
    kl_limit: float = Field(default=1.0, ge=0)
    correlation_floor: float = Field(default=-1.0, ge=-1, le=1)
    patience: int = Field(default=3, ge=1)

    @model_validator(mode="after")
    def _options_fit_kind(self) -> Self:
        if self.kind == "side" and self.lora is not None:
            raise ValueError("lora is an option of kind copy: a side helper is an adapter already")
        return self

    @field_validator("prompt")
    @classmethod
    def _answer_first(cls, prompt: str) -> str:
        answer, question = prompt.find("{answer}"), prompt.find("{prompt}")
        if answer < 0 or question < 0:
            raise ValueError("needs {answer} and {prompt}, as in '#### {answer}\\n{prompt}'")
        return prompt
