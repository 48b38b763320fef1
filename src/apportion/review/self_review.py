"""The policy as its own reviewer: the same weights judge the chain that they wrote."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from apportion.review.binding import as_language_model, unbound
from apportion.review.gather import Gather, lock_of
from apportion.review.resample import Compare, first_step, judge_by_resamples
from apportion.trace import Problem, Review, Step, StepVerdict, Usage

if TYPE_CHECKING:
    from apportion.policies.continuation import Prefix
    from apportion.policies.language_model import LanguageModelPolicy

ROWS_AT_ONCE = 128  # continuations that one call of the model writes side by side


class SelfOptions(BaseModel):
    """Options of the reviewer ``self``.

    ``consistency``: the policy writes each step ``samples`` times anew, at ``temperature``
    (default 1); what is compared is said in :mod:`apportion.review.resample`. ``segment`` is the
    cut of the run. ``max_tokens`` of a resample defaults to a quarter more than the longest step
    reviewed together. ``max_resamples`` is a budget for the life of the reviewer; reviews that it
    does not cover fail.

    ``ask`` (:mod:`apportion.review.self_asked`): a chat model is asked with ``prompt`` (see
    ``apportion ls prompts``), at ``temperature`` (default 0) and for at most ``max_tokens``
    (default 1024).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "self"
    mode: Literal["consistency", "ask"] = "consistency"
    samples: int = Field(default=8, ge=2, le=256)
    compare: Compare = "value"
    segment: str = "line"
    temperature: float | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)
    max_resamples: int | None = Field(default=None, ge=1)
    prompt: str = "steps"
    show_outcome: bool = True
    seed: int = 0

    @model_validator(mode="after")
    def _prompt_is_read(self) -> SelfOptions:
        if self.mode == "consistency" and "prompt" in self.model_fields_set:
            raise ValueError("prompt is read with mode: ask only; consistency asks nothing")
        return self


class _Chain(NamedTuple):
    problem: Problem
    text: str
    steps: tuple[Step, ...]
    outcome: float | None


class _Answer(NamedTuple):
    steps: tuple[Step, ...]
    verdicts: tuple[StepVerdict, ...]
    usage: Usage
    error: str | None = None


class SelfReviewer:
    """Mode ``consistency``: judges with the weights of the policy that it was bound to.

    A step is correct where it says what most of the policy's own continuations
    of the same beginning say, and harmful where they agree on something else. That measures
    surprise, not truth: a habitual mistake passes, a rare way to be right is called wrong. Equal
    beginnings (the first step of all completions of a prompt) are resampled once for all of them.

    Reviews that are asked for together are one batch for the model; see
    :class:`apportion.review.gather.Gather`.
    """

    critiques = 1

    def __init__(self, options: SelfOptions | None = None) -> None:
        self.options = options or SelfOptions()
        self.name = self.options.name
        self.resamples = 0
        self._policy: LanguageModelPolicy | None = None
        self._gather: Gather[_Chain, _Answer] = Gather(self._judge)

    def bind(self, policy: object) -> None:
        """Review with this policy's weights. Raises UserError where it has none."""
        self._policy = as_language_model(policy, self.name)

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
        """Raises UserError where no policy was bound."""
        if self._policy is None:
            raise unbound(self.name)
        who: dict[str, Any] = {"rollout_id": rollout_id, "reviewer": self.name}
        if not steps:
            return Review(**who, critique=critique)
        answer = await self._gather.ask(_Chain(problem, rollout_text, tuple(steps), outcome))
        return Review(
            **who,
            critique=critique,
            steps=answer.steps,
            verdicts=answer.verdicts,
            error=answer.error,
            usage=answer.usage,
            meta={"policy": self._policy.name, "mode": "consistency"},
        )

    def _judge(self, chains: list[_Chain], stopped: Callable[[], bool]) -> list[_Answer]:
        assert self._policy is not None
        with lock_of(self._policy.model):
            return self._resample(self._policy, chains, stopped)

    def _resample(
        self, policy: LanguageModelPolicy, chains: list[_Chain], stopped: Callable[[], bool]
    ) -> list[_Answer]:
        table = _Table(policy, self.options)
        refused = [not table.want(chain, self._left(table)) for chain in chains]
        table.fill(self.resamples, stopped)
        self.resamples += table.count
        if stopped():
            return []
        return [
            _refusal(f"the budget of {self.options.max_resamples} resamples is spent")
            if too_dear
            else table.answer(chain)
            for chain, too_dear in zip(chains, refused, strict=True)
        ]

    def _left(self, table: _Table) -> int | None:
        limit = self.options.max_resamples
        return None if limit is None else limit - self.resamples - table.planned


def _refusal(error: str) -> _Answer:
    return _Answer((), (), Usage(), error)


_Beginning = tuple[str, str]  # prompt, and the completion up to the step


@dataclass
class _Table:
    """What is resampled for one batch of chains: each beginning once."""

    policy: LanguageModelPolicy
    options: SelfOptions
    prefixes: dict[_Beginning, Prefix] = field(default_factory=dict)
    resamples: dict[_Beginning, list[str]] = field(default_factory=dict)
    usage: dict[_Beginning, Usage] = field(default_factory=dict)
    longest: int = 1
    count: int = 0

    @property
    def planned(self) -> int:
        return len(self.prefixes) * self.options.samples

    def want(self, chain: _Chain, left: int | None) -> bool:
        """Plan what the chain needs and others do not; False where that is more than ``left``."""
        from apportion.policies.continuation import Prefix

        beginnings = [_beginning(chain, step) for step in chain.steps]
        new = {key: Prefix(chain.problem, key[1]) for key in beginnings if key not in self.prefixes}
        if left is not None and len(new) * self.options.samples > left:
            return False
        self.prefixes |= new
        texts = [step.text(chain.text) for step in chain.steps]
        lengths = map(len, self.policy.tokenizer(texts, add_special_tokens=False)["input_ids"])
        self.longest = max(self.longest, *lengths)
        return True

    def fill(self, seed: int, stopped: Callable[[], bool]) -> None:
        """Resample every beginning; ``seed`` counts on from batch to batch."""
        # Beginnings of like length share a call: a short one would be padded through a long one.
        fitting = [key for key in self.prefixes if self._fits(key)]
        order = sorted(fitting, key=lambda key: len(key[0]) + len(key[1]))
        size = max(1, ROWS_AT_ONCE // self.options.samples)
        for start in range(0, len(order), size):
            if stopped():
                return
            self._fill_some(order[start : start + size], self.options.seed + seed + self.count)

    @property
    def limit(self) -> int:
        """Most tokens of one resample."""
        return self.options.max_tokens or self.longest + self.longest // 4 + 4

    def _fits(self, key: _Beginning) -> bool:
        context = getattr(self.policy.model.config, "max_position_embeddings", None)
        ids = self.policy.tokenizer(key[1], add_special_tokens=False)["input_ids"]
        length = len(self.policy.prompt_ids(self.prefixes[key].problem)) + len(ids)
        return not context or length + self.limit <= context

    def _fill_some(self, keys: list[_Beginning], seed: int) -> None:
        from apportion.policies.continuation import continue_chains

        temperature = 1.0 if self.options.temperature is None else self.options.temperature
        n = self.options.samples
        started = time.monotonic()
        written = continue_chains(
            self.policy,
            [self.prefixes[key] for key in keys],
            n=n,
            temperature=temperature,
            max_tokens=self.limit,
            seed=seed,
            batch_size=ROWS_AT_ONCE,
        )
        seconds = (time.monotonic() - started) / len(keys)
        for key, texts in zip(keys, written, strict=True):
            lengths = [len(ids) for ids in self.policy.tokenizer(texts)["input_ids"]]
            self.count += n
            self.resamples[key] = [
                step
                for text, length in zip(texts, lengths, strict=True)
                if not self._cut_off(step := first_step(text, self.options.segment), text, length)
            ]
            asked = n * len(self.policy.prompt_ids(self.prefixes[key].problem))
            self.usage[key] = Usage(
                calls=n, prompt_tokens=asked, completion_tokens=sum(lengths), seconds=seconds
            )

    def _cut_off(self, step: str, text: str, length: int) -> bool:
        """Whether the limit may have ended the step: it fills the whole continuation."""
        return length >= self.limit - 1 and step == text

    def answer(self, chain: _Chain) -> _Answer:
        """Verdicts on a planned chain; it pays for what no chain before it paid for."""
        keys = [_beginning(chain, step) for step in chain.steps]
        if any(key not in self.resamples for key in keys):
            return _refusal(
                f"the chain and a step of up to {self.limit} tokens exceed the policy's context"
            )
        verdicts = tuple(
            judge_by_resamples(step.text(chain.text), self.resamples[key], self.options.compare)
            for step, key in zip(chain.steps, keys, strict=True)
        )
        paid = [usage for key in keys if (usage := self.usage.pop(key, None)) is not None]
        usage = Usage(
            calls=sum(u.calls for u in paid),
            prompt_tokens=sum(u.prompt_tokens for u in paid),
            completion_tokens=sum(u.completion_tokens for u in paid),
            seconds=sum(u.seconds for u in paid),
        )
        return _Answer(chain.steps, verdicts, usage)


def _beginning(chain: _Chain, step: Step) -> _Beginning:
    return chain.problem.prompt, chain.text[: step.start]
