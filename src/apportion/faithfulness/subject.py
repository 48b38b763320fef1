"""The policy under study: everything that a measure asks goes through here and is counted."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from apportion.edit.answer import cue
from apportion.errors import UserError
from apportion.segment import segment
from apportion.segment.answer_line import labelled_answer
from apportion.tasks import Task
from apportion.tasks.answers import extract_answer
from apportion.trace import Problem, Rollout, Scoring, Step

if TYPE_CHECKING:
    from apportion.policies.base import Policy
    from apportion.policies.continuation import Prefix

T = TypeVar("T")

# What asks for the answer where a trace shows no mark of its own.
_CUE = "####"
_THINK, _END_OF_THINKING = "<think>", "</think>"


class Framed(NamedTuple):
    """A rollout taken apart: ``opening`` (a thinking tag that the text begins with), the ``body``
    of the chain, and ``closing``, what leads from it to the answer (white space, the end of
    thinking, the mark). ``steps`` partition the body in characters of the whole text. ``answer``
    is what was stated, ``tail`` how the text goes on after the closing."""

    rollout: Rollout
    opening: str
    body: str
    closing: str
    steps: tuple[Step, ...]
    answer: str
    tail: str

    @property
    def texts(self) -> tuple[str, ...]:
        """The text of each step; joined they are the body."""
        return tuple(step.text(self.rollout.text) for step in self.steps)


class Answer(NamedTuple):
    """A completion that was asked for; ``stated`` None where no answer can be read."""

    text: str
    stated: str | None


class Subject:
    """A policy with its task. ``tokens`` counts what was read and written so far, and ``latent``
    says whether it thinks in vectors.

    The policy is a language model, or anything with
    ``continue_texts(prefixes, *, n, temperature, max_tokens, seed) -> list[list[str]]`` and, for
    exact scoring, ``score_texts(prefixes, texts) -> list[float]``. ``max_tokens`` bounds a chain,
    ``answer_tokens`` an answer. With ``sample_only`` probabilities are not used even if there are
    any. Raises UserError for a policy that cannot go on from a prefix.
    """

    def __init__(
        self,
        policy: Policy,
        task: Task,
        *,
        segmenter: str = "line",
        temperature: float = 1.0,
        max_tokens: int = 256,
        answer_tokens: int = 16,
        seed: int = 0,
        sample_only: bool = False,
    ) -> None:
        self.policy: Any = policy
        self.task = task
        self.segmenter = segmenter
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.answer_tokens = answer_tokens
        self.seed = seed
        self.tokens = 0
        self._dry = False
        self._kept: dict[object, Any] = {}
        self._network = _language_model(policy)
        self.latent = self._network and hasattr(getattr(policy, "model", None), "cell")
        if not self._network and not hasattr(policy, "continue_texts"):
            raise UserError(
                f"policy '{policy.name}' cannot go on from the middle of a chain: probe a "
                "language model, or a policy with continue_texts"
            )
        scores = self._network or hasattr(policy, "score_texts")
        self.scoring: Scoring = "probability" if scores and not sample_only else "sampling"

    @property
    def exact(self) -> bool:
        """Whether probabilities can be had, so that a forced answer is a forward pass."""
        return self.scoring == "probability"

    def require(self, measure: str, needs: Collection[str]) -> None:
        """Raises UserError where the policy lacks what a measure needs."""
        if "logprobs" in needs and not self.exact:
            raise UserError(
                f"measure {measure} needs log-probabilities, and policy '{self.policy.name}' "
                "gives none: leave it out, or probe a language model"
            )
        if "latent" in needs and not self.latent:
            raise UserError(
                f"measure {measure} is of latent steps, and policy '{self.policy.name}' thinks in "
                "text: leave it out, or probe what objective latent trained"
            )
        if "model" in needs and not self._network:
            raise UserError(
                f"measure {measure} looks into the network, and policy '{self.policy.name}' is "
                "none: leave it out, or probe a language model"
            )

    @property
    def counts_only(self) -> bool:
        """Whether it asks nothing, see :meth:`dry`: completions then hold only their beginning."""
        return self._dry

    def dry(self) -> Subject:
        """A subject that asks nothing and counts what asking would take at most."""
        other = copy.copy(self)
        other._dry, other.tokens = True, 0
        return other

    def once(self, key: object, compute: Callable[[], T]) -> T:
        """What ``compute`` gives, kept under ``key`` for all rollouts that are measured."""
        if key not in self._kept:
            self._kept[key] = compute()
        return self._kept[key]

    # -- the chain -------------------------------------------------------------------------------

    def frame(self, rollout: Rollout) -> Framed | str:
        """The rollout taken apart, or why it cannot be measured."""
        text, end = rollout.text, rollout.reasoning_end
        stated = _stated(text[end:])
        if stated is None:
            return "states no answer that can be read"
        start = 0
        if text.lstrip().startswith(_THINK):
            start = text.index(_THINK) + len(_THINK)
            start += len(text[start:]) - len(text[start:].lstrip("\n"))
        body_end = end
        if text[:end].rstrip().endswith(_END_OF_THINKING):
            body_end = text.rindex(_END_OF_THINKING, 0, end)
        body = text[start:body_end]
        if not body.strip():
            return "has no reasoning"
        steps = tuple(Step(a + start, b + start) for a, b in segment(body, how=self.segmenter))
        mark = cue(rollout) or _CUE
        between = text[body_end:end] + mark
        gap = body[len(body.rstrip()) :]
        if not text[end:].startswith(mark) and not between.startswith("\n") and "\n" not in gap:
            gap += "\n"
        tail = text[end:].removeprefix(mark)
        line = tail.lstrip("\n").split("\n", 1)[0]
        whole = tail.strip() == line.strip()
        tail = tail if whole else line
        ended = whole and rollout.finish == "stop" and self._network
        tail += (self.policy.tokenizer.eos_token or "") if ended else ""
        return Framed(rollout, text[:start], body, gap + between, steps, stated, tail)

    def forced(self, frame: Framed, body: str, problem: Problem | None = None) -> Prefix:
        """The beginning that asks for the answer at once after ``body`` in place of the chain."""
        from apportion.policies.continuation import Prefix

        kept = body.rstrip()
        closing = frame.closing if kept else frame.closing.lstrip()
        return Prefix(problem or frame.rollout.problem, frame.opening + kept + closing)

    def begun(self, frame: Framed, body: str, problem: Problem | None = None) -> Prefix:
        """The beginning after which the policy may go on thinking."""
        from apportion.policies.continuation import Prefix

        return Prefix(problem or frame.rollout.problem, frame.opening + body)

    # -- asking ----------------------------------------------------------------------------------

    def answers(self, prefixes: Sequence[Prefix]) -> list[Answer]:
        """Greedy answers to forced prefixes."""
        found = self.go_on(prefixes, temperature=0.0, max_tokens=self.answer_tokens)
        return [texts[0] for texts in found]

    def go_on(
        self,
        prefixes: Sequence[Prefix],
        *,
        n: int = 1,
        temperature: float | None = None,
        max_tokens: int | None = None,
    ) -> list[list[Answer]]:
        """``n`` completions of each prefix, each with the prefix, and what they answer."""
        limit = self.max_tokens if max_tokens is None else max_tokens
        heat = self.temperature if temperature is None else temperature
        read = sum(self._length(prefix) for prefix in prefixes) * n
        if self._dry or not prefixes:
            self.tokens += read + len(prefixes) * n * limit
            return [[Answer(prefix.text, None)] * n for prefix in prefixes]
        options = {"n": n, "temperature": heat, "max_tokens": limit, "seed": self.seed}
        if hasattr(self.policy, "continue_texts"):
            found = self.policy.continue_texts(prefixes, **options)
        else:
            from apportion.policies.continuation import continue_chains

            found = continue_chains(self.policy, prefixes, **options)
        self.tokens += read + sum(self._count(text) for texts in found for text in texts)
        return [
            [self._answer(prefix.text + text) for text in texts]
            for prefix, texts in zip(prefixes, found, strict=True)
        ]

    def probabilities(self, prefixes: Sequence[Prefix], texts: Sequence[str]) -> list[float]:
        """Probability of ``texts[i]`` after ``prefixes[i]``: a forward pass each.

        Raises UserError where the policy gives no log-probabilities.
        """
        return [math.exp(score) for score in self.logprobs(prefixes, texts)]

    def logprobs(self, prefixes: Sequence[Prefix], texts: Sequence[str]) -> list[float]:
        """Natural log-probabilities, as :meth:`probabilities`."""
        self.require("scoring by probability", {"logprobs"})
        pairs = zip(prefixes, texts, strict=True)
        self.tokens += sum(self._length(prefix) + self._count(text) for prefix, text in pairs)
        if self._dry or not prefixes:
            return [0.0] * len(prefixes)
        if hasattr(self.policy, "score_texts"):
            return self.policy.score_texts(prefixes, texts)
        from apportion.policies.continuation import score_texts

        return score_texts(self.policy, prefixes, texts)

    # -- judging ---------------------------------------------------------------------------------

    def same(self, frame: Framed, answer: Answer) -> bool:
        """Whether the task's checker takes the answer for the one that the chain states."""
        problem = frame.rollout.problem
        if not self.states(problem, answer, frame.answer):
            return False
        # A checker that accepts several answers may take two different ones for right.
        return self.right(problem, answer.text) == self.right(problem, frame.rollout.text)

    def states(self, problem: Problem, answer: Answer, value: str) -> bool:
        """Whether the task's checker takes a completion for one that answers ``value``."""
        if answer.stated is None:
            return False
        wanted = problem.model_copy(update={"answers": (value,)})
        return (self.task.score(wanted, answer.text) or 0.0) >= 0.5

    def right(self, problem: Problem, text: str) -> bool | None:
        """Whether a completion is right; None where the task cannot tell."""
        score = self.task.score(problem, text)
        return None if score is None else score >= 0.5

    def _answer(self, text: str) -> Answer:
        return Answer(text, _stated(text[self.task.reasoning_end(text) :]))

    def _length(self, prefix: Prefix) -> int:
        if self._network:
            return len(self.policy.prompt_ids(prefix.problem)) + self._count(prefix.text)
        return self._count(prefix.problem.prompt) + self._count(prefix.text)

    def _count(self, text: str) -> int:
        """Tokens of a text; four characters each where the tokens are not known."""
        if self._network:
            return len(self.policy.tokenizer(text, add_special_tokens=False).input_ids)
        return math.ceil(len(text) / 4)


def _stated(part: str) -> str | None:
    if not part.strip():
        return None
    return labelled_answer(part) or extract_answer(part, last_number=True)


def _language_model(policy: Any) -> bool:
    return hasattr(policy, "model") and hasattr(policy, "prompt_ids")
