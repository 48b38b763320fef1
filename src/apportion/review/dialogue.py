"""A reviewer that may question the assistant before it gives credit."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from apportion.errors import UserError
from apportion.review.assistants import Assistant
from apportion.review.budget import BudgetSpent
from apportion.review.cache import ReviewCache
from apportion.review.check import total_usage
from apportion.review.dialogue_prompt import (
    REVIEWER_PROMPT,
    answer_turn,
    asking_schema,
    load_dialogue_prompt,
    load_framing,
    read_question,
    verdict_turn,
)
from apportion.review.exchange import Exchange
from apportion.review.llm import REPAIR_EXCERPT, LlmReviewer
from apportion.review.llm_client import EndpointError, Tally
from apportion.review.llm_options import LlmOptions
from apportion.review.llm_prompt import render
from apportion.review.llm_protocol import SCHEMAS, Reading, Unparseable, read_answer
from apportion.review.stored import review_once
from apportion.trace import Problem, Review, Step, Usage

Messages = list[dict[str, str]]


class DialogueOptions(BaseModel):
    """Options of the reviewer ``dialogue``.

    ``inner`` is who asks: the spec of a reviewer ``llm``, or of an offline one, which asks about
    what it cannot settle itself. ``assistant`` is who answers: ``chain``, or a spec such as
    ``{kind: endpoint, base_url: ..., model: ...}``. There are at most ``max_turns`` questions, and
    none once both sides together have spent ``max_dialogue_tokens``.

    ``prompt`` (for ``llm``) and ``framing`` are a shipped file or the path of a copy; ``framing``
    (``common_goal``, ``none``) is what the language models among the two are told of each other.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    inner: str | dict[str, Any] = "arithmetic"
    assistant: str | dict[str, Any] = "chain"
    max_turns: int = Field(default=8, ge=0, le=64)
    max_dialogue_tokens: int = Field(default=32_000, ge=1)
    prompt: str = REVIEWER_PROMPT
    framing: str = "common_goal"
    name: str = "dialogue"


class DialogueReviewer:
    """A language model that asks the assistant, one question a turn, and then gives its verdict.

    When it has used up its questions or its tokens it is told to judge. If it goes on asking, its
    verdict is the last one that it gave along with a question; without any the review fails. What
    was said is in ``Review.meta["transcript"]``, how it ended in ``meta["dialogue"]``; see
    :class:`~apportion.review.exchange.Exchange` for what the assistant is told and what not.

    Usage is that of both sides. With a cache, dialogues that ended in a verdict are stored whole.
    """

    def __init__(
        self,
        options: DialogueOptions,
        asking: LlmOptions,
        assistant: Assistant,
        cache: ReviewCache | None = None,
    ) -> None:
        """Raises UserError: no such prompt or framing, and whatever LlmReviewer refuses."""
        if asking.prompt is not None:
            raise UserError(
                f"reviewer {options.name}: the prompt of a dialogue is its own option 'prompt', "
                "not one of 'inner'"
            )
        framing = load_framing(options.framing)
        self.options, self.name, self.assistant, self.cache = (
            options,
            options.name,
            assistant,
            cache,
        )
        self.framing = framing
        self.prompt = load_dialogue_prompt(options.prompt, framing)
        self.inner = LlmReviewer(asking, cache)
        self.critiques, self.max_concurrency = self.inner.critiques, self.inner.max_concurrency

    async def aclose(self) -> None:
        """Close the connections of the running loop, of both sides."""
        await self.inner.aclose()
        close = getattr(self.assistant, "aclose", None)
        if close is not None:
            await close()

    async def review(
        self,
        problem: Problem,
        rollout_text: str,
        steps: Sequence[Step],
        outcome: float | None,
        *,
        rollout_id: str = "",
        critique: int = 0,
    ) -> Review:
        who: dict[str, Any] = {
            "rollout_id": rollout_id,
            "reviewer": self.name,
            "critique": critique,
        }
        if not steps:
            return Review(**who)
        asking = self.inner.options
        messages = render(
            self.prompt,
            problem,
            rollout_text,
            steps,
            outcome=outcome,
            show_outcome=asking.show_outcome,
            show_reference=asking.show_reference,
            critique=critique,
        )
        talk = _Talk(self, problem, rollout_text, steps, messages, critique)
        return await review_once(talk, who, self.cache, self.inner.endpoint)

    async def reconsider(self, *args: Any, **named: Any) -> Review:
        """As :meth:`apportion.review.llm.LlmReviewer.reconsider`: the assistant is not asked
        again, since what it said is in the reviewer's own verdicts."""
        again = await self.inner.reconsider(*args, **named)
        return again.model_copy(update={"reviewer": self.name})


class _Talk:
    """One dialogue about one chain."""

    def __init__(
        self,
        reviewer: DialogueReviewer,
        problem: Problem,
        text: str,
        steps: Sequence[Step],
        messages: Messages,
        critique: int,
    ) -> None:
        self.reviewer, self.problem, self.text, self.steps = reviewer, problem, text, steps
        self.messages, self.critique = messages, critique
        options, asking = reviewer.options, reviewer.inner.options
        self.seed = None if asking.seed is None else asking.seed + critique
        self.exchange = Exchange(
            reviewer.assistant,
            problem,
            text,
            max_turns=options.max_turns,
            max_tokens=options.max_dialogue_tokens,
        )
        self.tally = Tally()
        self.content, self.draft, self.ended = "", "", "verdict"
        self.meta: dict[str, Any] = {
            "model": asking.model,
            "temperature": asking.sent_temperature,
            "seed": self.seed,
            "prompt": reviewer.prompt.name,
            "prompt_hash": reviewer.prompt.digest,
            "framing": reviewer.framing.name,
            "outcome_shown": asking.show_outcome,
            "assistant": reviewer.assistant.name,
        }

    def identity(self) -> dict[str, Any]:
        """Everything that determines the dialogue."""
        asking, options = self.reviewer.inner.options, self.reviewer.options
        return {
            "protocol": "dialogue 1",
            "base_url": asking.base_url.rstrip("/"),
            "model": asking.model,
            "parameters": self.reviewer.inner.endpoint.parameters,
            "structured": asking.structured,
            "seed": self.seed,
            "critique": self.critique,
            "form": self.reviewer.prompt.answer,
            "messages": self.messages,
            "steps": [list(step) for step in self.steps],
            "chain": self.text,
            "withhold": list(self.problem.answers),
            "bounds": [options.max_turns, options.max_dialogue_tokens],
            "assistant": self.reviewer.assistant.identity(),
        }

    def replay(self, who: dict[str, Any], stored: dict[str, Any]) -> Review | None:
        """The review of a stored dialogue; None where this version cannot read it."""
        try:
            reading = self._read(stored["content"], lenient=True)
        except Unparseable:
            return None
        return Review(
            **who,
            steps=reading.steps,
            verdicts=reading.verdicts,
            usage=Usage(usd=0.0, cached=True),
            meta=stored["meta"],
        )

    async def hold(self, who: dict[str, Any]) -> Review:
        error: str | None = None
        reading = Reading((), ())
        try:
            await self._ask_around()
            reading = await self._verdict()
        except Unparseable as failure:
            error, self.ended = f"no verdict could be read: {failure}", "no verdict"
        except (EndpointError, BudgetSpent) as failure:
            error, self.ended = str(failure), "failure"
        if self.tally.estimated or self.exchange.tally.estimated:
            self.meta["usage_estimated"] = True
        if reading.repairs:
            self.meta["repairs"] = list(reading.repairs)
        sides = [
            self.tally.usage(self.reviewer.inner.endpoint.price),
            self.exchange.tally.usage(self.reviewer.assistant.price),
        ]
        return Review(
            **who,
            steps=reading.steps,
            verdicts=reading.verdicts,
            error=error,
            usage=total_usage(sides),
            meta=self.meta | self.exchange.meta(self.ended),
        )

    async def _ask_around(self) -> None:
        """Questions and answers, until the reviewer gives a verdict or a bound is reached."""
        while (bound := self.exchange.bound(self.tally)) is None:
            reply = await self._send(may_ask=True)
            question = read_question(reply)
            if question is None:
                return
            with suppress(Unparseable):
                self._read(reply)
                self.draft = reply
            answer = await self.exchange.put(question)
            bound = self.exchange.bound(self.tally)
            left = self.exchange.left if bound is None else 0
            told = answer_turn(answer, left)
            self._append(reply, told)
        self.ended = bound
        if not self.exchange.questions:
            self.messages[-1] = self.messages[-1] | {
                "content": f"{self.messages[-1]['content']}\n\n{verdict_turn()}"
            }
        await self._send(may_ask=False)

    async def _verdict(self) -> Reading:
        """What the last reply says, or its repair, or else the last verdict before it."""
        first = self.content
        try:
            return self._final(first)
        except Unparseable as failure:
            problem = str(failure)
        self.meta["repaired"] = problem
        again = (
            f"Your answer could not be used: {problem}. Answer again with your verdict on every "
            "step, as one complete JSON object, and nothing else."
        )
        self._append(first, again)
        try:
            return self._final(await self._send(may_ask=False), lenient=True)
        except Unparseable:
            for earlier in (first, self.draft):
                with suppress(Unparseable):
                    reading = self._read(earlier, lenient=True)
                    self.meta["draft"] = True
                    return reading
            raise

    def _final(self, content: str, *, lenient: bool = False) -> Reading:
        if read_question(content) is not None:
            raise Unparseable("it asks again, and no more questions are left")
        return self._read(content, lenient=lenient)

    def _read(self, content: str, *, lenient: bool = False) -> Reading:
        self.content = content
        form = self.reviewer.prompt.answer
        return read_answer(form, content, self.text, self.steps, lenient=lenient)

    async def _send(self, *, may_ask: bool) -> str:
        asking, prompt = self.reviewer.inner.options, self.reviewer.prompt
        schema = None
        if asking.structured:
            schema = asking_schema(prompt) if may_ask else SCHEMAS[prompt.answer]
        reply = await self.reviewer.inner.endpoint.ask(
            self.messages, schema=schema, seed=self.seed, tally=self.tally
        )
        self.meta["structured"], self.meta["finish"] = reply.structured, reply.finish
        self.content = reply.content
        return reply.content

    def _append(self, reply: str, told: str) -> None:
        """The reviewer's own turn, shortened, and what it is told."""
        # Some servers refuse an assistant turn without text.
        said = reply[:REPAIR_EXCERPT].strip() or "(nothing)"
        self.messages = [
            *self.messages,
            {"role": "assistant", "content": said},
            {"role": "user", "content": told},
        ]
