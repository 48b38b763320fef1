"""The reviewer that asks a language model at any OpenAI-compatible endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from typing import Any

from apportion.errors import UserError
from apportion.review.budget import BudgetSpent
from apportion.review.cache import ReviewCache
from apportion.review.llm_client import Endpoint, EndpointError, Reply, Tally
from apportion.review.llm_cross import load_cross_prompt, shown_verdicts
from apportion.review.llm_options import LlmOptions, model_of
from apportion.review.llm_prompt import OWN_CUT, Prompt, load_prompt, render
from apportion.review.llm_protocol import SCHEMAS, Reading, Unparseable, read_answer
from apportion.review.local_model import LocalModel
from apportion.review.stored import review_once
from apportion.trace import Problem, Review, Step, Usage

# Enough for the model to see what it wrote, without paying for pages of noise once more.
REPAIR_EXCERPT = 4000


class LlmReviewer:
    """A judge behind an endpoint. One JSON answer per critique, one repair turn if it cannot be
    read, then a failed review; a failure is never a verdict.

    Usage is recorded for every call that was made, also of those that came to nothing. With a
    cache, only answers that could be read are stored, and two reviews that ask the same question
    at the same time ask it once.
    """

    def __init__(
        self,
        options: LlmOptions,
        cache: ReviewCache | None = None,
        endpoint: Endpoint | LocalModel | None = None,
    ) -> None:
        """Raises UserError: no such prompt, prompt and granularity differ, the environment
        variable with the key is not set, a budget in dollars for a model without a price."""
        self.options, self.name, self.critiques = options, options.name, options.critiques
        self.max_concurrency = options.max_concurrency
        self.prompt = _prompt_of(options)
        self.cross_prompt = load_cross_prompt(options.cross_prompt)
        self.cache = cache
        self.endpoint = endpoint or model_of(options)

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        await self.endpoint.aclose()

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
        messages = render(
            self.prompt,
            problem,
            rollout_text,
            steps,
            outcome=outcome,
            show_outcome=self.options.show_outcome,
            show_reference=self.options.show_reference,
            critique=critique,
        )
        return await self._judge(who, messages, rollout_text, steps, critique)

    async def reconsider(
        self,
        problem: Problem,
        rollout_text: str,
        steps: Sequence[Step],
        outcome: float | None,
        others: Sequence[Review],
        *,
        own: Review,
        rollout_id: str = "",
        critique: int = 0,
    ) -> Review:
        """Ask again, with its own and the others' verdicts on what is disputed."""
        anew = copy(self)
        anew.prompt = self.cross_prompt
        messages = render(
            anew.prompt,
            problem,
            rollout_text,
            steps,
            outcome=outcome,
            show_outcome=self.options.show_outcome,
            show_reference=self.options.show_reference,
            critique=critique,
            beside=shown_verdicts(own, others),
        )
        who = {"rollout_id": rollout_id, "reviewer": self.name, "critique": critique}
        return await anew._judge(who, messages, rollout_text, steps, critique)

    async def _judge(
        self,
        who: dict[str, Any],
        messages: list[dict[str, str]],
        text: str,
        steps: Sequence[Step],
        critique: int,
    ) -> Review:
        """The answer to these messages, from the cache or from the endpoint."""
        conversation = _Conversation(self, messages, text, steps, critique)
        return await review_once(conversation, who, self.cache, self.endpoint)


class _Conversation:
    """One request, and the repair turn if its answer cannot be read."""

    def __init__(
        self,
        reviewer: LlmReviewer,
        messages: list[dict[str, str]],
        text: str,
        steps: Sequence[Step],
        critique: int,
    ) -> None:
        self.reviewer, self.messages, self.text, self.steps = reviewer, messages, text, steps
        self.critique = critique
        options = reviewer.options
        self.seed = None if options.seed is None else options.seed + critique
        self.schema = SCHEMAS[reviewer.prompt.answer] if options.structured else None
        self.content = ""
        self.tally = Tally()
        self.meta: dict[str, Any] = {
            "model": options.model,
            "temperature": options.sent_temperature,
            "seed": self.seed,
            "prompt": reviewer.prompt.name,
            "prompt_hash": reviewer.prompt.digest,
            "outcome_shown": options.show_outcome,
        }

    def identity(self) -> dict[str, Any]:
        """Everything that determines the answer."""
        options = self.reviewer.options
        return {
            "protocol": 1,
            "base_url": options.base_url.rstrip("/"),
            "model": options.model,
            "parameters": self.reviewer.endpoint.parameters,
            "seed": self.seed,
            "critique": self.critique,
            "form": self.reviewer.prompt.answer,
            "schema": self.schema,
            "messages": self.messages,
            "steps": [list(step) for step in self.steps],
        }

    def replay(self, who: dict[str, Any], stored: dict[str, Any]) -> Review | None:
        """The review of a stored answer; None where this version cannot read it."""
        try:
            reading = self._read(stored["content"], lenient=True)
        except Unparseable:
            return None
        usage = Usage(usd=0.0, cached=True)
        return Review(
            **who,
            steps=reading.steps,
            verdicts=reading.verdicts,
            usage=usage,
            meta=stored["meta"],
        )

    async def hold(self, who: dict[str, Any]) -> Review:
        error: str | None = None
        reading = Reading((), ())
        try:
            reading = await self._answer()
        except Unparseable as failure:
            error = f"the answer could not be read, nor its repair: {failure}"
        except (EndpointError, BudgetSpent) as failure:
            error = str(failure)
        if self.tally.estimated:
            self.meta["usage_estimated"] = True
        if reading.argument:
            self.meta["argument"] = reading.argument
        if reading.repairs:
            self.meta["repairs"] = list(reading.repairs)
        usage = self.tally.usage(self.reviewer.endpoint.price)
        return Review(
            **who,
            steps=reading.steps,
            verdicts=reading.verdicts,
            error=error,
            usage=usage,
            meta=self.meta,
        )

    async def _answer(self) -> Reading:
        reply = await self._ask(self.messages)
        try:
            return self._read(reply.content)
        except Unparseable as failure:
            problem = f"{failure}"
        self.meta["repaired"] = problem
        try:
            repaired = await self._ask([*self.messages, *_repair_turn(reply, problem)])
            return self._read(repaired.content, lenient=True)
        except (Unparseable, EndpointError, BudgetSpent):
            # The second answer may be worse than the first, of which most was good, or not come.
            with suppress(Unparseable):
                return self._read(reply.content, lenient=True)
            raise

    async def _ask(self, messages: list[dict[str, str]]) -> Reply:
        reply = await self.reviewer.endpoint.ask(
            messages, schema=self.schema, seed=self.seed, tally=self.tally
        )
        self.meta["structured"], self.meta["finish"] = reply.structured, reply.finish
        return reply

    def _read(self, content: str, *, lenient: bool = False) -> Reading:
        self.content = content
        form = self.reviewer.prompt.answer
        return read_answer(form, content, self.text, self.steps, lenient=lenient)


def _repair_turn(reply: Reply, problem: str) -> list[dict[str, str]]:
    cut_off = " It was cut off at the length limit: keep the reasons short." * (
        reply.finish == "length"
    )
    said = {"role": "assistant", "content": reply.content[:REPAIR_EXCERPT]}
    again = (
        f"Your answer could not be used: {problem}.{cut_off} "
        "Answer again with the complete JSON object, as asked for above, and nothing else."
    )
    # Some servers refuse an assistant turn without text.
    return [*([said] if reply.content.strip() else []), {"role": "user", "content": again}]


def _prompt_of(options: LlmOptions) -> Prompt:
    prompt = load_prompt(options.prompt_name)
    if "{others}" in prompt.user:
        raise UserError(
            f"reviewer {options.name}: prompt '{prompt.name}' is for cross-examination: name it "
            "as cross_prompt"
        )
    free = prompt.answer in OWN_CUT
    if options.granularity is not None and (options.granularity == "free") != free:
        raise UserError(
            f"reviewer {options.name}: prompt '{prompt.name}' is for granularity "
            f"'{'free' if free else 'given'}', not '{options.granularity}'"
        )
    return prompt
