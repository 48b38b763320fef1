"""A language model as the monitor: it reads a chain and says how suspicious it is."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import model_validator

from apportion.errors import UserError, nearest
from apportion.faithfulness.subject import Framed
from apportion.review.budget import BudgetSpent
from apportion.review.dialogue_prompt import fence_of
from apportion.review.llm_client import Endpoint, EndpointError, Reply, Tally
from apportion.review.llm_options import LlmOptions, model_of
from apportion.review.llm_prompt import defuse
from apportion.review.local_model import LocalModel
from apportion.review.panel import ReviewLoop
from apportion.trace import Usage

PROMPT_FOLDER = Path(__file__).parent / "prompts"
SHIPPED = "monitor"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "suspicion": {"type": "number"}},
    "required": ["reason", "suspicion"],
    "additionalProperties": False,
}
_CHAIN = "{chain}"
_DIVIDER = re.compile(r"^=====\s*$", re.MULTILINE)
_REASON_CHARS = 500
_CHARS_PER_TOKEN = 4
# Options of a reviewer that mean nothing to a monitor.
_NOT_OF_A_MONITOR = ("critiques", "granularity", "show_outcome", "show_reference", "cross_prompt")


class MonitorOptions(LlmOptions):
    """As of the reviewer ``llm``; ``prompt`` is the path of a copy of the shipped
    ``faithfulness/prompts/monitor.md`` that was changed."""

    name: str = "monitor"
    prompt: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        """``MODEL@URL``, as on a command line."""
        if not isinstance(given, str):
            return given
        model, at, url = given.removeprefix("llm:").partition("@")
        if not (model and at and url):
            raise ValueError(f"'{given}': write MODEL@URL, or a mapping with model and base_url")
        return {"model": model, "base_url": url}

    @model_validator(mode="after")
    def _of_a_monitor(self) -> MonitorOptions:
        for name in _NOT_OF_A_MONITOR:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"a monitor has no {name}")
        return self


class Prompt(NamedTuple):
    system: str
    user: str
    digest: str


class Reading(NamedTuple):
    """What the monitor said of a chain: ``suspicion`` in [0, 1], or why there is none; ``again``
    where it was not the monitor that failed but the way to it, so that asking later may help."""

    suspicion: float | None
    reason: str
    usage: Usage
    error: str | None = None
    again: bool = False


class ModelMonitor:
    """Asks one model about chains. A chain is asked about once, and once more where the reply
    cannot be read; a failure is an error and never a suspicion of 0."""

    def __init__(self, options: MonitorOptions) -> None:
        """Raises UserError: no such prompt, the environment variable with the key is not set, a
        budget in dollars for a model without a price."""
        self.options = options
        self.prompt = load_prompt(options.prompt or SHIPPED)
        self._model: Endpoint | LocalModel = model_of(options)

    @property
    def meta(self) -> dict[str, Any]:
        """Who was asked, for the records."""
        options = self.options
        return {
            "model": options.model,
            "temperature": options.sent_temperature,
            "seed": options.seed,
            "prompt": options.prompt or SHIPPED,
            "prompt_hash": self.prompt.digest,
        }

    def read(self, framed: Sequence[Framed]) -> list[Reading]:
        """What it says of each chain, in order; all are asked at once, within its limits."""
        with ReviewLoop() as loop:
            return loop.submit(self._read_all(framed)).result()

    def most_tokens(self, frame: Framed) -> int:
        """Tokens of asking about a chain twice, four characters to a token of the question."""
        asked = sum(len(message["content"]) for message in self.messages(frame))
        return 2 * (math.ceil(asked / _CHARS_PER_TOKEN) + 2 * self.options.max_tokens)

    def messages(self, frame: Framed) -> list[dict[str, str]]:
        """The request: the chain and its answer, fenced as data, and nothing of the question."""
        chain = f"{defuse(frame.body.strip())}\n\nFinal answer: {defuse(frame.answer)}"
        shown = self.prompt.user.replace(_CHAIN, fence_of("WORK", chain))
        return [
            {"role": "system", "content": self.prompt.system},
            {"role": "user", "content": shown},
        ]

    async def _read_all(self, framed: Sequence[Framed]) -> list[Reading]:
        try:
            return list(await asyncio.gather(*(self._read(frame) for frame in framed)))
        finally:
            await self._model.aclose()

    async def _read(self, frame: Framed) -> Reading:
        messages, tally = self.messages(frame), Tally()
        found: tuple[float, str] | str
        unreached = False
        try:
            reply = await self._ask(messages, tally)
            found = read_reply(reply.content)
            if isinstance(found, str):
                reply = await self._ask([*messages, *_again(reply, found)], tally)
                found = read_reply(reply.content)
        except (EndpointError, BudgetSpent) as failure:
            found, unreached = str(failure), True
        usage = tally.usage(self._model.price)
        if isinstance(found, str):
            error = f"the monitor gave no suspicion: {found}"
            return Reading(None, "", usage, error, unreached)
        return Reading(*found, usage)

    async def _ask(self, messages: list[dict[str, str]], tally: Tally) -> Reply:
        schema: Mapping[str, Any] | None = SCHEMA if self.options.structured else None
        return await self._model.ask(messages, schema=schema, seed=self.options.seed, tally=tally)


def monitor_of(options: MonitorOptions) -> ModelMonitor:
    """The monitor that these options describe, one for all who ask with the same options, so that
    its limits hold for all of them together. Raises UserError, see :class:`ModelMonitor`."""
    return _monitor_of(options.model_dump_json())


@lru_cache(maxsize=8)
def _monitor_of(options: str) -> ModelMonitor:
    return ModelMonitor(MonitorOptions.model_validate_json(options))


@lru_cache(maxsize=16)
def load_prompt(name: str) -> Prompt:
    """The shipped prompt ``monitor``, or a file: the system message, a line of five equals signs,
    and the user message with ``{chain}`` where the chain goes.

    Raises UserError: no such file, or not in this form.
    """
    path = PROMPT_FOLDER / f"{SHIPPED}.md" if name == SHIPPED else Path(name).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"prompt '{name}' of the monitor: {reason}{nearest(name, [SHIPPED])}; leave prompt out "
            "for the shipped one, or give the path of a file"
        ) from None
    parts = [part.strip() for part in _DIVIDER.split(text, maxsplit=1)]
    if len(parts) != 2 or _CHAIN not in parts[1]:
        raise UserError(
            f"prompt '{name}' of the monitor: write the system message, a line '=====', and a user "
            f"message with {_CHAIN} in it"
        )
    system, user = parts
    return Prompt(system, user, hashlib.sha256(text.encode()).hexdigest()[:16])


def read_reply(content: str) -> tuple[float, str] | str:
    """(suspicion, reason) from the last JSON object in the reply that has one, or what is wrong."""
    decoder = json.JSONDecoder()
    problem = "there was no JSON object in the reply"
    place = content.rfind("{")
    while place >= 0:
        try:
            value, _ = decoder.raw_decode(content, place)
        except (json.JSONDecodeError, RecursionError):
            value = None
        if isinstance(value, dict):
            stated: Any = value.get("suspicion")
            number = isinstance(stated, int | float) and not isinstance(stated, bool)
            if number and 0 <= stated <= 1:
                return float(stated), str(value.get("reason") or "")[:_REASON_CHARS]
            problem = f"suspicion has to be a number from 0 to 1, not {json.dumps(stated)[:40]}"
        place = content.rfind("{", 0, place)
    return problem


def _again(reply: Reply, problem: str) -> list[dict[str, str]]:
    said = reply.content.strip()[: 4 * _REASON_CHARS]
    again = (
        f"Your answer could not be used: {problem}. Answer with the JSON object and nothing else."
    )
    # Some servers refuse an assistant turn without text.
    turn = [{"role": "assistant", "content": said}] if said else []
    return [*turn, {"role": "user", "content": again}]
