"""What the reviewer ``llm`` can be told, and the model that these options describe."""

from __future__ import annotations

import os
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from apportion.errors import UserError
from apportion.review.budget import Budget, Pace
from apportion.review.llm_client import Endpoint
from apportion.review.local_model import LOCAL, LocalModel
from apportion.review.prices import Price


class PriceOptions(BaseModel):
    """US dollars per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(ge=0)
    output: float = Field(ge=0)


class LlmOptions(BaseModel):
    """Options of the reviewer ``llm``.

    ``base_url: local`` asks a model in this process instead: ``model`` is then a folder, a hub id
    or ``package:NAME``; keys, limits of requests and ``structured`` do not apply.

    ``temperature`` defaults to 0 for one critique (a greedy critique) and to 0.7 for several;
    "server" leaves it to the server, as does ``seed: null``. Critique k is asked with seed + k.
    ``granularity`` "given" asks for a verdict on each given step, "free" lets the reviewer cut;
    ``prompt`` is a shipped prompt (``deliberate`` lets it argue first) or the path of a copy.
    ``cross_prompt`` is the one for cross-examination.
    ``show_reference`` shows the problem's reference answer. ``structured`` sends a JSON schema.
    ``timeout`` and ``retries`` are per call. ``price`` is per million tokens, and needed for
    ``budget_usd``; without it a review is unpriced. ``extra_body`` is merged into each request.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str
    model: str
    api_key_env: str | None = None
    name: str = "llm"
    critiques: int = Field(default=1, ge=1, le=64)
    temperature: float | Literal["server"] | None = None
    seed: int | None = 0
    prompt: str | None = None
    cross_prompt: str = "cross_examine"
    granularity: Literal["given", "free"] | None = None
    show_outcome: bool = True
    show_reference: bool = False
    structured: bool = True
    max_tokens: int = Field(default=2048, ge=1)
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    extra_body: dict[str, Any] = Field(default_factory=dict)
    max_concurrency: int = Field(default=16, ge=1)
    max_rpm: float | None = Field(default=None, gt=0)
    timeout: float = Field(default=60.0, gt=0)
    retries: int = Field(default=2, ge=0, le=20)
    budget_usd: float | None = Field(default=None, gt=0)
    budget_tokens: int | None = Field(default=None, gt=0)
    price: PriceOptions | None = None

    @field_validator("base_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if value == LOCAL:
            return value
        parts = urlsplit(value)
        try:
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # the port is no number
            usable = False
        if not usable:
            raise ValueError(
                f"'{value}' is no http(s) address such as http://127.0.0.1:8000/v1, nor '{LOCAL}'"
            )
        return value

    @property
    def sent_temperature(self) -> float | None:
        if self.temperature == "server":
            return None
        if self.temperature is None:
            return 0.0 if self.critiques == 1 else 0.7
        return self.temperature

    @property
    def prompt_name(self) -> str:
        return self.prompt or ("free" if self.granularity == "free" else "steps")


def model_of(options: LlmOptions) -> Endpoint | LocalModel:
    """The model that is asked.

    Raises UserError: the environment variable with the key is not set, a budget in dollars for a
    model without a price, a request that a model in this process does not take.
    """
    price = Price(options.price.input, options.price.output) if options.price else None
    if options.budget_usd is not None and price is None:
        raise UserError(
            f"reviewer {options.name}: budget_usd needs to know what {options.model} costs: "
            "add price: {input: ..., output: ...} in dollars per million tokens"
        )
    budget = Budget(usd=options.budget_usd, tokens=options.budget_tokens)
    parameters = parameters_of(options)
    if options.base_url == LOCAL:
        return LocalModel(model=options.model, parameters=parameters, budget=budget, price=price)
    return Endpoint(
        base_url=options.base_url,
        model=options.model,
        api_key=_api_key(options),
        parameters=parameters,
        max_concurrency=options.max_concurrency,
        pace=Pace(options.max_rpm),
        budget=budget,
        price=price,
        timeout=options.timeout,
        retries=options.retries,
    )


def _api_key(options: LlmOptions) -> str | None:
    if options.api_key_env is None:
        return None
    key = os.environ.get(options.api_key_env)
    if not key:
        raise UserError(
            f"reviewer {options.name}: the environment variable {options.api_key_env} "
            "(api_key_env) is not set"
        )
    return key


def parameters_of(options: LlmOptions) -> dict[str, Any]:
    """What is sent with every question."""
    parameters: dict[str, Any] = {options.max_tokens_field: options.max_tokens}
    if options.sent_temperature is not None:
        parameters["temperature"] = options.sent_temperature
    if options.extra_body:
        parameters["extra_body"] = options.extra_body
    return parameters
