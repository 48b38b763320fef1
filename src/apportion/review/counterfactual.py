"""A reviewer that asks the policy what becomes of the answer without a step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from apportion.review.binding import as_language_model, unbound
from apportion.review.effects import (
    Chain,
    Effect,
    Effects,
    Removal,
    Sampler,
    removal_effects,
    resampled_effects,
    stated_answer_of,
    together,
)
from apportion.review.gather import Gather, lock_of
from apportion.review.resample import Compare
from apportion.segment.answer_line import find_reasoning_end
from apportion.tasks.answers import same_answer
from apportion.trace import Problem, Review, Step, StepVerdict, Usage

if TYPE_CHECKING:
    from apportion.policies.language_model import LanguageModelPolicy

CHAINS_AT_ONCE = 64


class CounterfactualOptions(BaseModel):
    """Options of the reviewer ``counterfactual``.

    ``intervention``: "resample" goes on from before and from behind each step, ``samples`` times at
    ``temperature``, and leaves out what begins with the same step (``compare``, see
    :mod:`apportion.review.resample`); "delete" takes the step out and "replace" makes its result
    wrong, the rest stays as written, and forward passes say how likely the rest and the answer
    still are; "both" resamples and takes from "replace" what rests on what, and on right chains
    also the effect of steps in whose place nothing else was written. See
    :mod:`apportion.review.effects`.

    ``answer`` is whose chance counts: the reference's ("right"), or that of what the chain states.
    A step is useful whose effect is ``threshold`` or more, harmful at minus that or less, else
    irrelevant; a step depends on the earlier ones without which it loses ``edge`` of its chance
    (not known for "resample"). ``max_tokens`` of a continuation defaults to a quarter more than
    the longest chain reviewed together.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "counterfactual"
    intervention: Literal["resample", "delete", "replace", "both"] = "resample"
    answer: Literal["right", "stated"] = "right"
    samples: int = Field(default=8, ge=1, le=256)
    temperature: float = Field(default=1.0, gt=0)
    compare: Compare = "value"
    segment: str = "line"
    max_tokens: int | None = Field(default=None, ge=1)
    threshold: float = Field(default=0.1, gt=0, le=1)
    edge: float = Field(default=0.5, gt=0, le=1)
    seed: int = 0


class _Answer(NamedTuple):
    verdicts: tuple[StepVerdict, ...]
    usage: Usage = Usage()
    error: str | None = None


class CounterfactualReviewer:
    """Judges steps by what the answer loses without them, measured with the policy's own weights.

    It reads no equation and needs no language model. It says nothing of truth (``correct`` is
    None): a step is harmful where the policy would be right more often had it written something
    else, and a wrong number that nothing uses is irrelevant. Chains that are reviewed together are
    one batch for the model; see :class:`apportion.review.gather.Gather`.
    """

    critiques = 1

    def __init__(self, options: CounterfactualOptions | None = None) -> None:
        self.options = options or CounterfactualOptions()
        self.name = self.options.name
        self._policy: LanguageModelPolicy | None = None
        self._batches = 0
        self._gather: Gather[Chain, _Answer] = Gather(self._judge)

    def bind(self, policy: object) -> None:
        """Intervene with this policy. Raises UserError where it has no weights."""
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
        answer = await self._gather.ask(Chain(problem, rollout_text, tuple(steps)))
        return Review(
            **who,
            critique=critique,
            steps=tuple(steps) if answer.error is None else (),
            verdicts=answer.verdicts,
            error=answer.error,
            usage=answer.usage,
            meta={"policy": self._policy.name, "intervention": self.options.intervention},
        )

    def _judge(self, chains: list[Chain], stopped: Callable[[], bool]) -> list[_Answer]:
        assert self._policy is not None
        answers: list[_Answer] = []
        with lock_of(self._policy.model):
            for start in range(0, len(chains), CHAINS_AT_ONCE):
                if stopped():
                    return []
                answers += self._judge_some(self._policy, chains[start : start + CHAINS_AT_ONCE])
        return answers

    def _judge_some(self, policy: LanguageModelPolicy, chains: list[Chain]) -> list[_Answer]:
        started = time.monotonic()
        limit = self._limit(policy, chains)
        refused = [self._refused(policy, chain, limit) for chain in chains]
        fit = [chain for chain, why in zip(chains, refused, strict=True) if why is None]
        found = iter(self._effects(policy, fit, limit))
        seconds = (time.monotonic() - started) / len(chains)
        return [
            _Answer((), error=why) if why else self._answer(next(found), seconds) for why in refused
        ]

    def _limit(self, policy: LanguageModelPolicy, chains: list[Chain]) -> int:
        """Most tokens of one continuation; 0 where none is written."""
        if self.options.intervention in ("delete", "replace"):
            return 0
        texts = [chain.text for chain in chains]
        longest = max(map(len, policy.tokenizer(texts, add_special_tokens=False).input_ids))
        return self.options.max_tokens or longest + longest // 4 + 4

    def _refused(self, policy: LanguageModelPolicy, chain: Chain, limit: int) -> str | None:
        """Why a chain cannot be reviewed; None where it can."""
        if self._wanted(chain) is None:
            stated = self.options.answer == "stated"
            return (
                "the chain states no answer that can be read" if stated
                else "the problem has no reference answer: set answer: stated"
            )  # fmt: skip
        context = getattr(policy.model.config, "max_position_embeddings", None)
        ids = policy.tokenizer(chain.text, add_special_tokens=False).input_ids
        length = len(policy.prompt_ids(chain.problem)) + len(ids)
        # A reference answer may be somewhat longer than the one stated.
        if context and length + (limit or 16) > context:
            return f"a chain of {length} tokens does not fit into the policy's context of {context}"
        return None

    def _effects(
        self, policy: LanguageModelPolicy, chains: list[Chain], limit: int
    ) -> list[Effects | str]:
        options = self.options
        if options.intervention in ("delete", "replace"):
            return self._removed(policy, chains, options.intervention)
        sampled = self._resampled(policy, chains, limit)
        if options.intervention == "resample":
            return list(sampled)
        right = [_gives(self._wanted(chain) or (), chain.text) > 0 for chain in chains]
        removed = self._removed(policy, chains, "replace")
        return [together(*row) for row in zip(sampled, removed, right, strict=True)]

    def _removed(
        self, policy: LanguageModelPolicy, chains: list[Chain], how: Removal
    ) -> list[Effects | str]:
        answer, seed = self.options.answer, self.options.seed
        return removal_effects(policy, chains, how, answer=answer, seed=seed)

    def _resampled(
        self, policy: LanguageModelPolicy, chains: list[Chain], limit: int
    ) -> list[Effects]:
        wanted = {(c.problem.id, c.problem.prompt): self._wanted(c) or () for c in chains}
        if self.options.answer == "stated":
            return [self._one(policy, chain, limit) for chain in chains]

        def score(problem: Problem, text: str) -> float:
            return _gives(wanted[problem.id, problem.prompt], text)

        return resampled_effects(policy, chains, score, self._sampler(limit))

    def _one(self, policy: LanguageModelPolicy, chain: Chain, limit: int) -> Effects:
        """The answer that counts is this chain's own, so it is continued by itself."""
        own = self._wanted(chain) or ()
        sampler = self._sampler(limit)
        return resampled_effects(policy, [chain], lambda _, text: _gives(own, text), sampler)[0]

    def _sampler(self, limit: int) -> Sampler:
        options = self.options
        self._batches += 1
        return Sampler(
            options.samples,
            options.temperature,
            limit,
            options.compare,
            options.segment,
            options.seed + self._batches,
        )

    def _wanted(self, chain: Chain) -> tuple[str, ...] | None:
        """The answers whose chance counts; None where there is none."""
        if self.options.answer == "right":
            return chain.problem.answers or None
        stated = stated_answer_of(chain.text[find_reasoning_end(chain.text) :])
        return None if stated is None else (stated,)

    def _answer(self, effects: Effects | str, seconds: float) -> _Answer:
        if isinstance(effects, str):
            return _Answer((), error=effects)
        verdicts = tuple(
            verdict_of(effect, self.options.threshold, effects.depends_on(i, self.options.edge))
            for i, effect in enumerate(effects.by_step)
        )
        usage = Usage(
            calls=1,
            prompt_tokens=effects.read,
            completion_tokens=effects.written,
            seconds=seconds,
        )
        return _Answer(verdicts, usage)


def verdict_of(
    effect: Effect | None, threshold: float, depends_on: tuple[int, ...] = ()
) -> StepVerdict:
    """Useful, harmful or irrelevant by the sign and the size of an effect; abstains where it is not
    known. The confidence is 0.5 at the threshold and 1 where the effect is 1 (or 0, if irrelevant),
    on a straight line between."""
    if effect is None:
        return StepVerdict(depends_on=depends_on, reason="nothing else could stand in its place")
    size = round(abs(effect.value), 9)  # a share of 0.5 less one of 0.4 is a tenth
    reason = f"the answer has {effect.given:.2f} with it and {effect.without:.2f} without it"
    if effect.others is not None:
        reason += f" ({effect.others} continuations put something else there)"
    if size < threshold:
        label, confidence = "irrelevant", 1 - size / threshold / 2
    else:
        label = "useful" if effect.value > 0 else "harmful"
        room = 1 - threshold
        confidence = 0.5 + (size - threshold) / room / 2 if room > 0 else 1.0
    return StepVerdict(
        label=label,
        depends_on=depends_on,
        reason=reason,
        confidence=min(1.0, confidence),
    )


def _gives(wanted: Sequence[str], text: str) -> float:
    stated = stated_answer_of(text[find_reasoning_end(text) :])
    return float(stated is not None and any(same_answer(gold, stated) for gold in wanted))
