"""A chat model in this process, asked as an endpoint is asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from apportion.errors import UserError
from apportion.review.budget import Budget
from apportion.review.gather import Gather, lock_of
from apportion.review.key_locks import KeyLocks
from apportion.review.llm_client import EndpointError, Reply, Tally
from apportion.review.prices import Price

if TYPE_CHECKING:
    from apportion.policies.language_model import LanguageModelPolicy

LOCAL = "local"  # stands where an endpoint has its address
_ROWS_AT_ONCE = 16


class _Question(NamedTuple):
    messages: list[dict[str, str]]
    seed: int | None


class _Answer(NamedTuple):
    text: str
    asked: int
    written: int
    error: str = ""


class LocalModel:
    """Has the interface of :class:`apportion.review.llm_client.Endpoint`.

    Questions that wait together are one batch of the model. JSON schemas are not enforced.
    ``model`` is what ``policy: {kind: pretrained, model: ...}`` takes, read when the first question
    comes; or a chat policy that is there already.
    """

    base_url = LOCAL

    def __init__(
        self,
        *,
        model: str | LanguageModelPolicy,
        parameters: Mapping[str, Any],
        budget: Budget,
        price: Price | None,
    ) -> None:
        self.model = model
        if "extra_body" in parameters:
            raise UserError(f"base_url: {LOCAL}: a model in this process takes no extra_body")
        self.parameters = dict(parameters)
        if isinstance(model, str):
            # Part of the key of the review cache: weights trained anew under the same path.
            self.parameters["weights"] = weights_mark(model)
        self.budget, self.price = budget, price
        self._locks = KeyLocks()
        self._gather: Gather[_Question, _Answer] = Gather(self._answer)

    async def ask(
        self,
        messages: list[dict[str, str]],
        *,
        schema: Mapping[str, Any] | None,
        seed: int | None,
        tally: Tally,
    ) -> Reply:
        """One reply; what it cost is added to ``tally``.

        Raises:
            EndpointError: the question and the longest answer exceed the model's context.
            BudgetSpent: before any call, once the budget is spent.
            UserError: no such model, or it has no chat template; to a panel, a failed review.
        """
        self.budget.check()
        tally.calls += 1
        started = time.monotonic()
        try:
            answer = await self._gather.ask(_Question(messages, seed))
        finally:
            tally.seconds += time.monotonic() - started
        if answer.error:
            raise EndpointError(answer.error)
        tokens = (answer.asked, answer.written)
        tally.prompt_tokens += answer.asked
        tally.completion_tokens += answer.written
        self.budget.charge(sum(tokens), self.price.usd(*tokens) if self.price else None)
        finish = "length" if answer.written >= self._limit else "stop"
        return Reply(answer.text, finish, structured=False)

    @asynccontextmanager
    async def only_one(self, key: str) -> AsyncIterator[None]:
        """Let no two tasks of a loop ask the same question at the same time."""
        async with self._locks.of(asyncio.get_running_loop(), key):
            yield

    async def aclose(self) -> None:
        """Nothing to close: the model stays for the next loop."""

    @property
    def _limit(self) -> int:
        return self.parameters.get("max_tokens") or self.parameters["max_completion_tokens"]

    def _answer(self, questions: list[_Question], stopped: Callable[[], bool]) -> list[_Answer]:
        policy = chat_policy(self.model) if isinstance(self.model, str) else self.model
        answers: list[_Answer] = []
        with lock_of(policy.model):
            for start in range(0, len(questions), _ROWS_AT_ONCE):
                if stopped():
                    return []
                answers += self._answer_some(policy, questions[start : start + _ROWS_AT_ONCE])
        return answers

    def _answer_some(
        self, policy: LanguageModelPolicy, questions: list[_Question]
    ) -> list[_Answer]:
        import torch

        prompts = [chat_ids(policy, question.messages) for question in questions]
        context = getattr(policy.model.config, "max_position_embeddings", None)
        fits = [not context or len(ids) + self._limit <= context for ids in prompts]
        asked = [ids for ids, fit in zip(prompts, fits, strict=True) if fit]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(questions[0].seed or 0)
            temperature = float(self.parameters.get("temperature", 1.0))
            replies = iter(policy.generate_ids(asked, temperature, self._limit) if asked else [])
        answers = []
        for ids, fit in zip(prompts, fits, strict=True):
            if fit:
                reply = next(replies)
                answers.append(_Answer(policy.decode(reply)[0], len(ids), len(reply)))
                continue
            answers.append(
                _Answer("", 0, 0, f"the question of {len(ids)} tokens and an answer of "
                        f"{self._limit} exceed the context of {context}: lower max_tokens")
            )  # fmt: skip
        return answers


def chat_ids(policy: LanguageModelPolicy, messages: list[dict[str, str]]) -> list[int]:
    """Token ids of a conversation, up to where the model begins to answer."""
    encoded = policy.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=True
    )
    return list(encoded["input_ids"])


@lru_cache(maxsize=4)
def chat_policy(model: str) -> LanguageModelPolicy:
    """The chat model of this name. Raises UserError where there is none."""
    from apportion.policies import load_policy
    from apportion.policies.language_model import LanguageModelPolicy

    policy = load_policy({"kind": "pretrained", "model": model})
    assert isinstance(policy, LanguageModelPolicy)
    if not policy.chat:
        raise UserError(f"model {model} has no chat template, so it cannot be asked")
    return policy


def weights_mark(model: str) -> str:
    """Names, sizes and times of the files of a folder; empty where the model is no folder."""
    folder = Path(model).expanduser()
    if not folder.is_dir():
        return ""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return " ".join(f"{p.name}:{p.stat().st_size}:{p.stat().st_mtime_ns}" for p in files)
