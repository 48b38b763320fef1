"""The side that is questioned: whoever answers for a chain of thought."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from apportion.errors import UserError, nearest
from apportion.review.cache import ReviewCache, cache_key
from apportion.review.chain_answers import answer_from_chain
from apportion.review.exchange import Turn
from apportion.review.llm_client import Tally
from apportion.review.llm_options import LlmOptions, model_of
from apportion.review.llm_prompt import defuse
from apportion.review.prices import Price
from apportion.trace import Problem

_Model = TypeVar("_Model", bound=BaseModel)

ASSISTANTS: dict[str, str] = {
    "chain": "says what the chain itself says: what a step computes, from which numbers; offline",
    "endpoint": "a language model at an OpenAI-compatible endpoint; the chain counts as its own",
    "scripted": "gives recorded answers, in order",
}
PROMPT_FILE = Path(__file__).parent / "prompts" / "dialogue" / "dialogue_assistant.md"


@runtime_checkable
class Assistant(Protocol):
    """Answers questions about a chain of thought that counts as its own.

    ``problem`` carries no reference answer and no gold steps. ``transcript`` holds the earlier
    turns. What an answer costs is added to ``tally``; ``price`` is what its tokens cost.
    ``answer`` may raise: the failure is recorded. ``identity`` is everything that determines the
    answers, for the cache.
    """

    name: str
    price: Price | None

    def identity(self) -> dict[str, Any]: ...

    async def answer(
        self,
        problem: Problem,
        chain: str,
        transcript: Sequence[Turn],
        question: str,
        *,
        tally: Tally | None = None,
    ) -> str: ...


class ChainAssistant:
    """Deterministic and offline: reads the chain again and says what it finds there; see
    :func:`~apportion.review.chain_answers.answer_from_chain`. It knows nothing that the text does
    not say."""

    name = "chain"
    price: Price | None = None

    def identity(self) -> dict[str, Any]:
        return {"kind": "chain", "version": 1}

    async def answer(
        self,
        problem: Problem,
        chain: str,
        transcript: Sequence[Turn],
        question: str,
        *,
        tally: Tally | None = None,
    ) -> str:
        return answer_from_chain(problem.prompt, chain, question)


Script = Callable[[Problem, str, Sequence[Turn], str], str]


class ScriptedAssistant:
    """Gives ``answers`` in order, and empty ones after them; or calls a function with what an
    assistant is given. ``asked`` records the problem, the chain and the question of each call."""

    name = "scripted"
    price: Price | None = None

    def __init__(self, answers: Sequence[str] | Script) -> None:
        self._answers = answers
        self.asked: list[tuple[Problem, str, str]] = []

    def identity(self) -> dict[str, Any]:
        said = repr(self._answers) if callable(self._answers) else list(self._answers)
        return {"kind": "scripted", "answers": said}

    async def answer(
        self,
        problem: Problem,
        chain: str,
        transcript: Sequence[Turn],
        question: str,
        *,
        tally: Tally | None = None,
    ) -> str:
        self.asked.append((problem, chain, question))
        if callable(self._answers):
            return self._answers(problem, chain, transcript, question)
        turn = len(transcript)
        return self._answers[turn] if turn < len(self._answers) else ""


class EndpointAssistantOptions(LlmOptions):
    """Options of the assistant ``endpoint``: those of the reviewer ``llm`` that say which model
    is asked and how. ``prompt`` is the path of a file to use in place of the shipped one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "endpoint"
    max_tokens: int = 512

    @model_validator(mode="after")
    def _no_reviewer(self) -> EndpointAssistantOptions:
        judging = {"critiques", "granularity", "show_outcome", "show_reference", "structured"}
        wrong = sorted(judging & self.model_fields_set)
        if wrong:
            raise ValueError(
                f"'{wrong[0]}' is an option of reviewers: the assistant judges nothing"
            )
        return self


class EndpointAssistant:
    """A language model that is shown the problem, then the chain as what it said itself, and then
    the questions, one a turn. It is not told whether its answer was right. With a cache, the
    same question after the same turns is asked once."""

    def __init__(
        self,
        options: EndpointAssistantOptions,
        framing: str = "",
        cache: ReviewCache | None = None,
    ) -> None:
        """Raises UserError: no such prompt, the key is not set, a budget without a price."""
        self.options, self.name, self.cache = options, options.name, cache
        prompt = _read_prompt(Path(options.prompt) if options.prompt else PROMPT_FILE)
        self.system = f"{prompt}\n\n{framing}" if framing else prompt
        asking = LlmOptions.model_validate(options.model_dump() | {"prompt": None})
        self.endpoint = model_of(asking)
        self.price = self.endpoint.price

    def identity(self) -> dict[str, Any]:
        return {
            "kind": "endpoint",
            "base_url": self.options.base_url.rstrip("/"),
            "model": self.options.model,
            "parameters": self.endpoint.parameters,
            "seed": self.options.seed,
            "system": self.system,
        }

    async def answer(
        self,
        problem: Problem,
        chain: str,
        transcript: Sequence[Turn],
        question: str,
        *,
        tally: Tally | None = None,
    ) -> str:
        """Raises EndpointError or BudgetSpent."""
        messages = [
            {"role": "system", "content": self.system},
            {"role": "user", "content": defuse(problem.prompt.strip())},
            {"role": "assistant", "content": defuse(chain.strip()) or "(nothing)"},
        ]
        for turn in transcript:
            messages.append({"role": "user", "content": defuse(turn.question)})
            messages.append({"role": "assistant", "content": defuse(turn.answer) or "(nothing)"})
        messages.append({"role": "user", "content": defuse(question)})
        if self.cache is None:
            return await self._ask(messages, tally)
        key = cache_key({"protocol": "answer 1", **self.identity(), "messages": messages})
        async with self.endpoint.only_one(key):
            stored = self.cache.get(key)
            if stored is not None:
                return str(stored["content"])
            content = await self._ask(messages, tally)
            if content.strip():
                self.cache.put(key, {"content": content})
            return content

    async def _ask(self, messages: list[dict[str, str]], tally: Tally | None) -> str:
        spent = tally if tally is not None else Tally()
        reply = await self.endpoint.ask(messages, schema=None, seed=self.options.seed, tally=spent)
        return reply.content

    async def aclose(self) -> None:
        await self.endpoint.aclose()


class _ScriptedOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    answers: tuple[str, ...] = ()


def load_assistant(
    spec: Mapping[str, Any] | str, framing: str = "", cache: ReviewCache | None = None
) -> Assistant:
    """The assistant that a bare name, or ``{"kind": name, option: value, ...}``, describes;
    ``framing`` is what an ``endpoint`` is told of the reviewer.

    Raises UserError: unknown kind or option, with the nearest known one, or a bad value.
    """
    options = {"kind": spec} if isinstance(spec, str) else dict(spec)
    kind = options.pop("kind", None)
    if kind not in ASSISTANTS:
        known = list(ASSISTANTS)
        what = "an assistant without 'kind'" if kind is None else f"unknown assistant '{kind}'"
        raise UserError(f"{what}{nearest(str(kind), known)}; assistants: {', '.join(known)}")
    if kind == "endpoint":
        parsed = _parse("endpoint", EndpointAssistantOptions, options)
        return EndpointAssistant(parsed, framing, cache)
    if kind == "scripted":
        return ScriptedAssistant(_parse("scripted", _ScriptedOptions, options).answers)
    if options:
        raise UserError(f"assistant chain: unknown option '{next(iter(options))}'; it takes none")
    return ChainAssistant()


def _parse(kind: str, model: type[_Model], options: dict[str, Any]) -> _Model:
    try:
        return model.model_validate(options)
    except ValidationError as error:
        wrong = error.errors()
        first = next((e for e in wrong if e["type"] == "extra_forbidden"), wrong[0])
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            known = list(model.model_fields)
            message = f"unknown option{nearest(where, known)}; it takes {', '.join(known)}"
        if first["type"] == "missing":
            message = "is required"
        raise UserError(f"assistant {kind}: {where or 'options'}: {message}") from None


def _read_prompt(path: Path) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"assistant endpoint: prompt '{path}': {reason}") from None
