"""A reviewer that reads offline and asks the assistant about what it cannot settle by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from apportion.review.assistants import Assistant
from apportion.review.base import Reviewer
from apportion.review.check import total_usage
from apportion.review.exchange import Exchange
from apportion.review.provenance import StepNumbers, read_numbers
from apportion.review.quoting import quote, quotes_in, steps_quoted
from apportion.review.reading import Value, show, stated_answer
from apportion.review.replies import Chain, Origin, Suspicion, read_reply, suspects
from apportion.trace import Problem, Review, Step, StepVerdict

# Shares of such verdicts that were right on planted errors; see docs/notebook.md.
ACCUSED, PLACED = 0.93, 0.99


@dataclass(frozen=True)
class _Question:
    about: Literal["answer", "numbers", "meaning"]
    step: int
    text: str


class QuestioningReviewer:
    """Wraps an offline reviewer, and fills in what it leaves open by questioning the assistant:

    - *answer*: right steps whose use is open because none arrives at the stated answer. The
      assistant is asked which one does, and the use of the steps is seen from there;
    - *numbers*: a number of a step may come from several places. Where the assistant takes it
      from becomes the dependency;
    - *numbers* of every step, where the answer is known to be wrong and no step is called wrong.
      Once all were asked about, the step with the most evidence against it (see
      :func:`~apportion.review.replies.suspects`) is called wrong; of equals none is. Steps that
      nothing uses are no longer called irrelevant: what should have used them may be the fault;
    - *meaning*: a step that the wrapped reviewer abstains on. It is useful where a later step
      takes a number from it, and irrelevant where it says again what an earlier one arrived at.

    Answers are checked against the text, and what they do not prove stays as it was. With an
    assistant that says nothing the verdicts are those of the wrapped reviewer.
    """

    max_concurrency = 64

    def __init__(
        self,
        inner: Reviewer,
        assistant: Assistant,
        *,
        max_turns: int = 8,
        max_tokens: int = 32_000,
        framing: str | None = None,
        name: str = "dialogue",
    ) -> None:
        """``framing`` is the name of what the assistant was told of the reviewer."""
        self.inner, self.assistant, self.name = inner, assistant, name
        self.critiques = inner.critiques
        self._told = {} if framing is None else {"framing": framing}
        self._bounds = {"max_turns": max_turns, "max_tokens": max_tokens}

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
        first = await self.inner.review(
            problem, rollout_text, steps, outcome, rollout_id=rollout_id, critique=critique
        )
        if not first.ok or not first.steps:
            return first.model_copy(update={"reviewer": self.name})
        exchange = Exchange(self.assistant, problem, rollout_text, **self._bounds)
        interview = _Interview(problem, rollout_text, first, outcome)
        ended = "nothing left to ask"
        for question in interview.questions():
            bound = exchange.bound()
            if bound is not None:
                ended = bound
                break
            reply = await exchange.put(question.text)
            if reply:
                interview.learn(question, reply)
        changes: dict[str, Any] = {
            "reviewer": self.name,
            "verdicts": interview.verdicts(),
            "usage": total_usage([first.usage, exchange.tally.usage(self.assistant.price)]),
            "meta": first.meta
            | {"assistant": self.assistant.name}
            | self._told
            | exchange.meta(ended),
        }
        return first.model_copy(update=changes)

    async def aclose(self) -> None:
        for side in (self.inner, self.assistant):
            close = getattr(side, "aclose", None)
            if close is not None:
                await close()


class _Interview:
    """What is open about one chain, and what the answers settled."""

    def __init__(self, problem: Problem, text: str, first: Review, outcome: float | None) -> None:
        texts = [step.text(text) for step in first.steps]
        self.chain = Chain(problem.prompt, text, first.steps, read_numbers(problem.prompt, texts))
        self.first = first.verdicts
        self.failed = outcome is not None and outcome < 0.5 and not any(v.wrong for v in self.first)
        self.origins: dict[int, dict[Value, list[Origin]]] = {}
        self.meanings: dict[int, tuple[str, tuple[int, ...]]] = {}
        self.arrived: int | None = None

    def questions(self) -> Iterator[_Question]:
        """In the order in which they are worth asking."""
        stated = stated_answer(self.chain.text[self.chain.steps[-1].end :])
        if stated and any(v.correct and v.label is None for v in self.first):
            asked = show(stated[0])
            yield _Question("answer", -1, f"You state {asked}. Which thought arrives at {asked}?")
        asks = [i for i, numbers in enumerate(self.chain.numbers) if self._doubtful(numbers)]
        for index in asks:
            if (said := self._said(index)) is not None:
                yield _Question("numbers", index, f"{said}: where do its numbers come from?")
        for index, verdict in enumerate(self.first):
            if verdict.abstains and index not in asks and (said := self._said(index)) is not None:
                yield _Question("meaning", index, f"{said}: what does it compute, and what for?")

    def _doubtful(self, numbers: StepNumbers) -> bool:
        return bool(numbers.taken) and (self.failed or any(t.ambiguous for t in numbers.taken))

    def _said(self, index: int) -> str | None:
        """The step as a quote; None where its words stand earlier too, and would be mistaken."""
        said = quote(self.chain.steps[index].text(self.chain.text))
        found = steps_quoted(said.strip("“”"), self.chain.text, self.chain.steps)
        return said if found[:1] == (index,) else None

    def learn(self, question: _Question, reply: str) -> None:
        if question.about == "numbers":
            origins = read_reply(reply, question.step, self.chain)
            strays = {t.value for t in self.chain.numbers[question.step].taken if not t.known}
            if strays & origins.keys() or any(o.known for named in origins.values() for o in named):
                self.origins[question.step] = origins
            return
        quoted = [
            step
            for found in quotes_in(reply)
            for step in steps_quoted(found.text, self.chain.text, self.chain.steps)
        ]
        if question.about == "meaning":
            others = tuple(step for step in quoted if step != question.step)
            self.meanings[question.step] = (reply, others)
            return
        arriving = [step for step in quoted if self.chain.numbers[step].results]
        self.arrived = arriving[-1] if arriving else None

    def verdicts(self) -> tuple[StepVerdict, ...]:
        verdicts = [self._with_sources(i, verdict) for i, verdict in enumerate(self.first)]
        if self.arrived is not None:
            reached = _reached(verdicts, [self.arrived])
            verdicts = [_placed(i in reached, verdict) for i, verdict in enumerate(verdicts)]
        verdicts = [self._with_meaning(i, verdict) for i, verdict in enumerate(verdicts)]
        if self.failed and self.origins:
            verdicts = self._with_accusation(verdicts)
        return tuple(verdicts)

    def _with_sources(self, index: int, verdict: StepVerdict) -> StepVerdict:
        """The dependencies as the answer has them, where it accounts for every number."""
        origins = self.origins.get(index, {})
        taken = self.chain.numbers[index].taken
        if not origins or not all(t.value in origins for t in taken):
            return verdict
        named = [origin.step for of_value in origins.values() for origin in of_value]
        sources = {step for step in named if step is not None}
        return verdict.model_copy(update={"depends_on": tuple(sorted(sources))})

    def _with_meaning(self, index: int, verdict: StepVerdict) -> StepVerdict:
        reply, others = self.meanings.get(index, ("", ()))
        if not verdict.abstains or not others:
            return verdict
        earlier = [step for step in others if step < index]
        changes: dict[str, Any] = {"reason": f"asked, the assistant says: {reply}"}
        if len(earlier) < len(others):
            changes |= {"label": "useful"}
        else:
            changes |= {"label": "irrelevant", "depends_on": tuple(sorted(set(earlier)))}
        return verdict.model_copy(update=changes)

    def _with_accusation(self, verdicts: list[StepVerdict]) -> list[StepVerdict]:
        computing = [i for i, numbers in enumerate(self.chain.numbers) if numbers.results]
        if any(self.chain.numbers[i].taken and i not in self.origins for i in computing):
            return verdicts  # one step cannot be the most suspect before all were asked about
        used = {source for verdict in verdicts for source in verdict.depends_on}
        unused = [i for i in computing[:-1] if i not in used]
        found = suspects(self.origins, unused, self.chain)
        opened = [
            v.model_copy(update={"label": None, "reason": f"{v.reason}; but the answer is wrong"})
            if i in unused and v.label == "irrelevant"
            else v
            for i, v in enumerate(verdicts)
        ]
        if not found or (len(found) > 1 and len(found[1].evidence) == len(found[0].evidence)):
            return opened
        accused = found[0]
        opened[accused.step] = self._accused(opened[accused.step], accused)
        return opened

    def _accused(self, verdict: StepVerdict, suspicion: Suspicion) -> StepVerdict:
        step = self.chain.steps[suspicion.step]
        taken = next(
            t for t in self.chain.numbers[suspicion.step].taken if t.value == suspicion.value
        )
        reason = (
            f"the answer is wrong and every calculation holds; of {show(suspicion.value)} the "
            f"assistant's answer shows: {', '.join(suspicion.evidence)}"
        )
        return verdict.model_copy(
            update={
                "label": "harmful",
                "correct": False,
                "reason": reason,
                "focus": (step.start + taken.start, step.start + taken.end),
                "confidence": ACCUSED,
            }
        )


def _reached(verdicts: Sequence[StepVerdict], roots: Sequence[int]) -> set[int]:
    reached: set[int] = set()
    waiting = list(roots)
    while waiting:
        step = waiting.pop()
        if step not in reached:
            reached.add(step)
            waiting.extend(verdicts[step].depends_on)
    return reached


def _placed(useful: bool, verdict: StepVerdict) -> StepVerdict:
    if verdict.label is not None or verdict.correct is not True:
        return verdict
    why = "leads to where the chain ended up" if useful else "leads nowhere"
    changes: dict[str, Any] = {
        "label": "useful" if useful else "irrelevant",
        "reason": f"{verdict.reason}; asked, the assistant shows that it {why}",
        "confidence": PLACED,
    }
    return verdict.model_copy(update=changes)
