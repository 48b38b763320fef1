"""A bounded exchange of questions and answers between a reviewer and the assistant it reviews."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from apportion.review.leak import gives_away
from apportion.review.llm_client import Tally
from apportion.trace import Problem

if TYPE_CHECKING:
    from apportion.review.assistants import Assistant

LONGEST_QUESTION = 2_000
LONGEST_ANSWER = 4_000

Bound = Literal["turns", "tokens"]


class Turn(NamedTuple):
    """A question that was put, and what the assistant answered."""

    question: str
    answer: str


class Line(NamedTuple):
    """One line of the transcript. The role ``note`` is neither side: it says what happened."""

    role: Literal["reviewer", "assistant", "note"]
    text: str


class Exchange:
    """Puts questions to an assistant, at most ``max_turns``, and none once both sides together
    spent ``max_tokens``.

    A question that gives the reference answer away is withheld; it counts as a turn, so that a
    reviewer which keeps at it comes to an end. The assistant sees the prompt of the problem, the
    chain, and the turns before: never a reference answer, what the task knows of the solution, or
    a question that was withheld. An assistant that fails or has nothing to say is recorded, and
    what it did not say is an empty answer.
    """

    def __init__(
        self, assistant: Assistant, problem: Problem, chain: str, *, max_turns: int, max_tokens: int
    ) -> None:
        self.assistant, self._answers, self._chain = assistant, problem.answers, chain
        self._shown = Problem(id=problem.id, prompt=problem.prompt)
        self._max_turns, self._max_tokens = max_turns, max_tokens
        self.turns: list[Turn] = []
        self.lines: list[Line] = []
        self.withheld, self.empty, self.shortened = 0, 0, 0
        self.failures: list[str] = []
        self.tally = Tally()

    @property
    def questions(self) -> int:
        """Those that were put and those that were withheld."""
        return len(self.turns) + self.withheld

    @property
    def left(self) -> int:
        return self._max_turns - self.questions

    def bound(self, reviewer: Tally | None = None) -> Bound | None:
        """Which bound is reached, also by what the reviewer's side has spent."""
        if self.left <= 0:
            return "turns"
        tallies = [self.tally, *([reviewer] if reviewer else [])]
        spent = sum(tally.prompt_tokens + tally.completion_tokens for tally in tallies)
        return "tokens" if spent >= self._max_tokens else None

    async def put(self, question: str) -> str | None:
        """The answer, empty where there is none; None where the question was withheld."""
        question = self._short(question, LONGEST_QUESTION)
        self.lines.append(Line("reviewer", question))
        if gives_away(question, self._answers, self._chain):
            self.withheld += 1
            self._note("withheld from the assistant: the question gives the reference answer away")
            return None
        answer = self._short(await self._ask(question), LONGEST_ANSWER)
        self.turns.append(Turn(question, answer))
        if answer:
            self.lines.append(Line("assistant", answer))
        return answer

    async def _ask(self, question: str) -> str:
        try:
            answer = await self.assistant.answer(
                self._shown, self._chain, tuple(self.turns), question, tally=self.tally
            )
        except Exception as error:  # whatever ails the assistant must not cost the review
            name = "" if str(error) else type(error).__name__
            self.failures.append(f"{name}{error}")
            self._note(f"the assistant failed: {self.failures[-1]}")
            return ""
        if not answer.strip():
            self.empty += 1
            self._note("the assistant said nothing")
        return answer.strip()

    def _short(self, text: str, limit: int) -> str:
        text = text.strip()
        if len(text) <= limit:
            return text
        self.shortened += 1
        return f"{text[:limit].rstrip()} [...]"

    def _note(self, text: str) -> None:
        self.lines.append(Line("note", text))

    def meta(self, ended: str) -> dict[str, Any]:
        """For ``Review.meta``: the transcript and what was counted. ``ended`` says why it ended."""
        counted: dict[str, Any] = {
            "questions": self.questions,
            "ended": ended,
            "withheld": self.withheld,
            "empty_answers": self.empty,
            "failed_answers": self.failures,
        }
        if self.shortened:
            counted["shortened"] = self.shortened
        return {"transcript": transcript_of(self.lines), "dialogue": counted}


def transcript_of(lines: Sequence[Line]) -> list[dict[str, str]]:
    return [{"role": line.role, "text": line.text} for line in lines]
