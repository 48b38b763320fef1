"""One OpenAI-compatible endpoint: requests within limits, replies of bounded size."""

from __future__ import annotations

import asyncio
import json
import time
import weakref
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from apportion.review.budget import Budget, Pace
from apportion.review.key_locks import KeyLocks
from apportion.review.prices import Price
from apportion.trace import Usage

if TYPE_CHECKING:
    from openai import AsyncOpenAI

MAX_REPLY_BYTES = 2_000_000
_CHARS_PER_TOKEN = 4


class EndpointError(Exception):
    """No reply could be had; the message says why."""


@dataclass
class Tally:
    """What one review has cost so far."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    estimated: bool = False

    def usage(self, price: Price | None) -> Usage:
        usd = price.usd(self.prompt_tokens, self.completion_tokens) if price else None
        return Usage(
            calls=self.calls,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            seconds=round(self.seconds, 6),
            usd=usd if self.calls else 0.0,
        )


@dataclass(frozen=True)
class Reply:
    content: str
    finish: str
    structured: bool


@dataclass
class _PerLoop:
    """Connections and semaphores belong to the event loop that made them."""

    client: AsyncOpenAI
    slots: asyncio.Semaphore


class Endpoint:
    """Asks one model at one endpoint.

    Retries are the SDK's: 408, 409, 429 and 5xx and broken connections, with its back-off or the
    server's ``retry-after``. ``timeout`` seconds bound each try, and the reading of the reply.
    """

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        api_key: str | None,
        parameters: Mapping[str, Any],
        max_concurrency: int,
        pace: Pace,
        budget: Budget,
        price: Price | None,
        timeout: float,
        retries: int,
    ) -> None:
        self.base_url, self.model, self.parameters = base_url, model, dict(parameters)
        self.budget, self.price, self._pace = budget, price, pace
        self._api_key, self._timeout, self._retries = api_key, timeout, retries
        self._max_concurrency = max_concurrency
        self._schema_refused = False
        self._locks = KeyLocks()
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _PerLoop] = (
            weakref.WeakKeyDictionary()
        )

    async def ask(
        self,
        messages: list[dict[str, str]],
        *,
        schema: Mapping[str, Any] | None,
        seed: int | None,
        tally: Tally,
    ) -> Reply:
        """One reply; what it cost is added to ``tally`` whatever comes of it.

        A server that refuses the JSON schema is asked again without one, and not sent one again.

        Raises:
            EndpointError: no reply.
            BudgetSpent: before any call, once the budget is spent.
        """
        import openai

        if schema is None or self._schema_refused:
            return await self._send(messages, None, seed, tally)
        try:
            return await self._send(messages, schema, seed, tally)
        except EndpointError as error:
            cause = error.__cause__
            if not isinstance(cause, openai.BadRequestError | openai.UnprocessableEntityError):
                raise
        reply = await self._send(messages, None, seed, tally)
        self._schema_refused = True
        return reply

    @asynccontextmanager
    async def only_one(self, key: str) -> AsyncIterator[None]:
        """Let no two tasks of a loop ask the same question at the same time."""
        async with self._locks.of(asyncio.get_running_loop(), key):
            yield

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        state = self._loops.pop(asyncio.get_running_loop(), None)
        if state is not None:
            await state.client.close()

    def _here(self) -> _PerLoop:
        loop = asyncio.get_running_loop()
        if loop not in self._loops:
            self._loops[loop] = _PerLoop(self._client(), asyncio.Semaphore(self._max_concurrency))
        return self._loops[loop]

    def _client(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI  # 1.2 s: only those who ask a model pay for it

        client = AsyncOpenAI(
            base_url=self.base_url,
            api_key=self._api_key or "none",
            timeout=self._timeout,
            max_retries=self._retries,
        )
        if urlsplit(self.base_url).hostname != "api.openai.com":
            # The SDK takes these from the environment and would tell them to any server.
            client.organization = client.project = None
        return client

    async def _send(
        self,
        messages: list[dict[str, str]],
        schema: Mapping[str, Any] | None,
        seed: int | None,
        tally: Tally,
    ) -> Reply:
        state = self._here()
        async with state.slots:
            self.budget.check()
            await self._pace.wait()
            started = time.monotonic()
            tally.calls += 1
            try:
                body = await self._body(state.client, messages, schema, seed)
            finally:
                tally.seconds += time.monotonic() - started
        reply, tokens = _read_body(body, structured=schema is not None)
        if tokens is None:
            # Unreported is not free: count characters, so that limits still hold.
            tally.estimated = True
            sent = sum(len(message["content"]) for message in messages)
            tokens = (sent // _CHARS_PER_TOKEN, len(reply.content) // _CHARS_PER_TOKEN)
        tally.prompt_tokens += tokens[0]
        tally.completion_tokens += tokens[1]
        self.budget.charge(sum(tokens), self.price.usd(*tokens) if self.price else None)
        return reply

    async def _body(
        self,
        client: AsyncOpenAI,
        messages: list[dict[str, str]],
        schema: Mapping[str, Any] | None,
        seed: int | None,
    ) -> bytes:
        import openai

        fields: dict[str, Any] = {"model": self.model, "messages": messages, **self.parameters}
        if seed is not None:
            fields["seed"] = seed
        if schema is not None:
            fields["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "review", "strict": True, "schema": schema},
            }
        try:
            async with client.chat.completions.with_streaming_response.create(**fields) as response:
                return await self._bounded(response.iter_bytes())
        except openai.APITimeoutError as error:
            raise EndpointError(f"no reply within {self._timeout:g} s") from error
        except openai.APIStatusError as error:
            raise EndpointError(f"HTTP {error.status_code}: {_brief(error.message)}") from error
        except openai.APIConnectionError as error:
            reason = error.__cause__ or error
            raise EndpointError(f"cannot reach {self.base_url}: {_brief(str(reason))}") from error

    async def _bounded(self, chunks: AsyncIterator[bytes]) -> bytes:
        body = bytearray()
        clock = asyncio.timeout(self._timeout)
        try:
            async with clock:
                async for chunk in chunks:
                    body += chunk
                    if len(body) > MAX_REPLY_BYTES:
                        raise EndpointError(f"the reply is larger than {MAX_REPLY_BYTES} bytes")
        except EndpointError:
            raise
        except TimeoutError as error:
            if not clock.expired():
                raise
            raise EndpointError(f"the reply did not end within {self._timeout:g} s") from error
        except Exception as error:
            # The SDK wraps what happens before the first byte; after it, errors are those of the
            # HTTP library, and which library that is depends on the version of the SDK.
            name = type(error).__name__
            raise EndpointError(f"the connection broke: {name}: {_brief(str(error))}") from error
        return bytes(body)


def _read_body(body: bytes, *, structured: bool) -> tuple[Reply, tuple[int, int] | None]:
    """The reply and (prompt, completion) tokens, None where the server does not report them."""
    if not body.strip():
        raise EndpointError("the server sent an empty body")
    try:
        data = json.loads(body)
        choice = data["choices"][0]
        message = choice["message"]
        content = message.get("content") or ""
        if not isinstance(content, str):
            raise TypeError("content is no text")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        shown = _brief(body[:200].decode("utf-8", "replace"))
        raise EndpointError(f"the server sent no chat completion: {shown!r}") from error
    if message.get("refusal"):
        raise EndpointError(f"the model refused: {_brief(str(message['refusal']))}")
    usage = data.get("usage") if isinstance(data.get("usage"), dict) else {}
    sent, made = usage.get("prompt_tokens"), usage.get("completion_tokens")
    tokens = (sent, made) if isinstance(sent, int) and isinstance(made, int) else None
    finish = str(choice.get("finish_reason") or "unknown")
    return Reply(content, finish, structured), tokens


def _brief(text: str, limit: int = 200) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
