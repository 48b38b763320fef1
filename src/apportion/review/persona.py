"""A second voice of the policy: a LoRA adapter that reviews what the policy wrote."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from apportion.errors import UserError
from apportion.review.binding import as_language_model, unbound
from apportion.review.gather import Gather, lock_of
from apportion.review.persona_format import (
    TRIGGER,
    Judgement,
    answer_ids,
    next_ids,
    question_ids,
    read_judgement,
)
from apportion.trace import Problem, Review, Step, StepVerdict, Usage

if TYPE_CHECKING:
    from apportion.policies.language_model import LanguageModelPolicy

SETTINGS_FILE = "persona.json"
_ROWS_AT_ONCE = 64


class PersonaOptions(BaseModel):
    """``adapter`` is the folder that ``objective: persona`` wrote; ``trigger`` defaults to the one
    that it was trained with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    adapter: Path
    trigger: str | None = None
    name: str = "persona"


class _Chain(NamedTuple):
    problem: Problem
    text: str
    steps: tuple[Step, ...]


class _Reply(NamedTuple):
    text: str
    usage: Usage


class PersonaReviewer:
    """Reviews with the policy's weights and a LoRA adapter that is off in normal use: after the
    chain comes a trigger, and the persona says of each step whether it is wrong and of the whole
    whether the answer was taken from elsewhere (a shortcut).

    A wrong step is harmful. A right step of a chain with a shortcut is irrelevant: the answer does
    not rest on it. ``meta["shortcut"]`` keeps what was said of the whole.

    It is free in what it says and bound in the form: only tokens that keep the answer a judgement
    on these steps are allowed.

    Source: Split Personality Training (arXiv 2602.05532). There the persona reads the states that
    the policy alone left behind; here the adapter is on while it reads, too.
    """

    critiques = 1

    def __init__(self, options: PersonaOptions) -> None:
        """Raises UserError where there is no adapter."""
        from apportion.policies.adapter import check_adapter

        self.name, self.adapter = options.name, options.adapter
        check_adapter(self.adapter)
        self.trigger = options.trigger or read_trigger(self.adapter)
        self._policy: LanguageModelPolicy | None = None
        self._gather: Gather[_Chain, _Reply] = Gather(self._ask)

    def bind(self, policy: object) -> None:
        """Review with this policy's weights under the adapter. Raises UserError where it has none
        or the adapter was made for another."""
        from apportion.policies.adapter import adapter_on

        model = as_language_model(policy, self.name)
        with lock_of(model.model), adapter_on(model.model, self.adapter):
            pass  # an adapter that does not fit is found now, not after a generation
        self._policy = model

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
        who: dict[str, Any] = {
            "rollout_id": rollout_id,
            "reviewer": self.name,
            "critique": critique,
        }
        if not steps:
            return Review(**who)
        reply = await self._gather.ask(_Chain(problem, rollout_text, tuple(steps)))
        try:
            judgement = read_judgement(reply.text, len(steps))
        except ValueError as error:
            return Review(**who, error=f"the persona's answer is no review: {error}",
                          usage=reply.usage)  # fmt: skip
        return Review(
            **who,
            steps=tuple(steps),
            verdicts=verdicts_of(judgement),
            usage=reply.usage,
            meta={"policy": self._policy.name, "shortcut": judgement.shortcut},
        )

    def _ask(self, chains: list[_Chain], stopped: Callable[[], bool]) -> list[_Reply]:
        from apportion.policies.adapter import adapter_on

        policy = self._policy
        assert policy is not None
        replies: list[_Reply] = []
        with lock_of(policy.model), adapter_on(policy.model, self.adapter):
            for start in range(0, len(chains), _ROWS_AT_ONCE):
                if stopped():
                    return []
                replies += self._ask_together(policy, chains[start : start + _ROWS_AT_ONCE])
        return replies

    def _ask_together(self, policy: LanguageModelPolicy, chains: list[_Chain]) -> list[_Reply]:
        started = time.monotonic()
        asked = [question_ids(policy, c.problem, c.text, self.trigger) for c in chains]
        longest = max(len(chain.steps) for chain in chains)
        limit = 2 + len(answer_ids(policy, Judgement((True,) * longest, True)))
        answers = policy.generate_ids(
            asked,
            0.0,
            limit,
            lambda row, ids: next_ids(policy, ids, len(chains[row].steps)),
        )
        seconds = (time.monotonic() - started) / len(chains)
        return [
            _Reply(
                policy.decode(answer)[0],
                Usage(
                    calls=1,
                    prompt_tokens=len(question),
                    completion_tokens=len(answer),
                    seconds=seconds,
                ),
            )
            for question, answer in zip(asked, answers, strict=True)
        ]


def verdicts_of(judgement: Judgement) -> tuple[StepVerdict, ...]:
    """The verdicts of :class:`PersonaReviewer`, one per step."""
    wrong = StepVerdict(label="harmful", correct=False, reason="the persona calls it wrong")
    unused = StepVerdict(
        label="irrelevant", correct=True, reason="the persona says that the answer is a shortcut"
    )
    right = unused if judgement.shortcut else StepVerdict(correct=True)
    return tuple(wrong if is_wrong else right for is_wrong in judgement.wrong)


def read_trigger(adapter: Path) -> str:
    """The trigger that an adapter was trained with; the usual one where nothing is noted.

    Raises UserError for a settings file that cannot be read.
    """
    file = adapter / SETTINGS_FILE
    if not file.is_file():
        return TRIGGER
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["trigger"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{file}: no trigger can be read ({error}): name it by the reviewer's option trigger"
        ) from None
