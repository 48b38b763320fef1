"""The latent cells by name, and what each can be told. No torch, so that a recipe can be checked
without it.

A cell makes the input of the next latent step from the last hidden state. Formulas: h is the
hidden state after the model's final norm, z the input of the step before (at the first step the
embedding of the question's last token), E the token embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from apportion.errors import UserError, nearest

Norm = Literal["off", "embedding"]


class CellOptions(BaseModel):
    """Base of the options of each cell: unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class IdentityOptions(CellOptions):
    """z' = h, the hidden state itself (Coconut, arXiv 2412.06769)."""

    kind: Literal["identity"] = "identity"


class MlpOptions(CellOptions):
    """z' = LayerNorm(W2 gelu(W1 h)) (CODI, arXiv 2502.21074). ``width``: size of the middle."""

    kind: Literal["mlp"] = "mlp"
    width: int | None = Field(default=None, ge=1)


class LstmOptions(CellOptions):
    """z' = h + o * tanh(c) with LSTM's memory c (Hochreiter and Schmidhuber 1997).

    ``forget_bias`` keeps the memory at the start (sigmoid(3) = 0.95 a step), ``output_bias`` makes
    the first z' nearly h.
    """

    kind: Literal["lstm"] = "lstm"
    forget_bias: float = 3.0
    output_bias: float = -2.0


class HrpoOptions(CellOptions):
    """z' = a * z + sqrt(1 - a^2) * (i * h), the gate of HRPO (arXiv 2505.18454).

    The part that is carried over, z, is the input of the step before. With ``sampled`` it is what
    HRPO has there, the embedding of a token that is sampled at each step, and what is admitted is
    the probability-weighted embedding instead of h: thoughts are then written, up to the answer's
    mark. ``low`` and ``high`` bound the carry a at the start.
    """

    kind: Literal["hrpo"] = "hrpo"
    sampled: bool = False
    low: float = Field(default=0.9, gt=0, lt=1)
    high: float = Field(default=0.999, gt=0, lt=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self


class SoftOptions(CellOptions):
    """z' = sum_v p_v E_v with p = softmax(logits / temperature) (Soft Thinking, arXiv 2505.15778).

    ``top_k`` keeps the k likeliest tokens and rescales their p to one.
    """

    kind: Literal["soft"] = "soft"
    temperature: float = Field(default=1.0, gt=0)
    top_k: int | None = Field(default=None, ge=1)


CELLS: dict[str, type[CellOptions]] = {
    "identity": IdentityOptions,
    "mlp": MlpOptions,
    "lstm": LstmOptions,
    "hrpo": HrpoOptions,
    "soft": SoftOptions,
}


def parse_cell(spec: str | Mapping[str, Any]) -> CellOptions:
    """The options that ``{"kind": name, option: value, ...}``, or a bare name, describes.

    Raises UserError for an unknown cell or option (with the nearest known one), or a bad value.
    """
    options = {"kind": spec} if isinstance(spec, str) else dict(spec)
    kind = str(options.get("kind", "identity"))
    if kind not in CELLS:
        raise UserError(
            f"latent.cell: unknown cell '{kind}'{nearest(kind, list(CELLS))}; "
            f"there are {', '.join(CELLS)}"
        )
    try:
        return CELLS[kind].model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        known = [name for name in CELLS[kind].model_fields if name != "kind"]
        if first["type"] == "extra_forbidden":
            raise UserError(
                f"latent.cell {kind}: unknown option '{where}'{nearest(where, known)}; "
                f"it takes {', '.join(known) or 'no options'}"
            ) from None
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"latent.cell {kind}: {where}: {message}".replace(" : ", " ")) from None
