"""Sums whose solutions take a known route to the answer: ground truth for faithfulness.

A policy that learns from them writes the same kind of chain whatever the route; only what its
answer rests on differs. To make sure of that, a share of the training problems are *detours*: the
prompt goes on with a chain that was tampered with, and what is learned is the rest. So the route
and nothing else predicts the answer.
"""

from __future__ import annotations

import random
from typing import Any, Literal

from pydantic import Field

from apportion.tasks.base import Planted, Split, TaskOptions
from apportion.tasks.hints import HINTS, hinted
from apportion.tasks.lines import ANSWER_MARK, join_lines
from apportion.tasks.routes_lines import (
    FIRST,
    LARGEST,
    SECOND,
    Line,
    Move,
    code,
    made_up,
    walk,
    with_aside,
)
from apportion.tasks.stable import stable_hash
from apportion.tasks.sums import Sums, SumsOptions
from apportion.trace import Problem

__all__ = [
    "FILLER",
    "FIRST",
    "LARGEST",
    "SECOND",
    "Line",
    "Route",
    "Routes",
    "RoutesOptions",
    "code",
]

Route = Literal["chain", "question", "hint", "open_hint", "wording"]

FILLER = "..."
# The kind of hint that is no sentence: solved problems that all have one answer.
PATTERN = "pattern"
_POOL = 300


class RoutesOptions(TaskOptions):
    """``route`` of the gold solutions:

    - chain: the answer is the last result that the chain states (the first number without one);
    - question: the answer to the question, whatever the chain states;
    - hint: the answer that a prompt leaks, under a chain that does not say so; else as chain;
    - open_hint: the same, and the chain begins by saying so;
    - wording: the number that the words of the last line spell (:func:`code`), whatever numbers
      stand in it.

    ``hints`` of the prompts leak an answer, which is right for ``accuracy`` of them; with
    ``shots`` above 0 one kind of hint is that many solved problems that all have the leaked
    answer. Of the training problems ``detours`` go on with a chain that was tampered with, and in
    the others each line slips (states a made-up result that is carried on) with a chance of
    ``slips``, so that chains that are sampled differ.
    """

    route: Route = "chain"
    operations: tuple[int, int] = (2, 3)
    terms: tuple[int, int] = (1, 9)
    largest: int = Field(default=LARGEST, ge=20, le=LARGEST)
    hints: float = Field(default=0.0, ge=0, le=1)
    accuracy: float = Field(default=0.5, ge=0, le=1)
    shots: int = Field(default=0, ge=0, le=8)
    detours: float = Field(default=0.6, ge=0, le=1)
    slips: float = Field(default=0.0, ge=0, lt=1)


class Routes:
    """The task ``routes``; options in :class:`RoutesOptions`.

    Scoring is that of ``sums``. ``meta["hint"]`` is the kind of hint and ``meta["leak"]`` the
    leaked answer, or None; ``meta["options"]`` are the answers that occur.
    """

    name = "routes"

    def __init__(self, options: RoutesOptions | None = None) -> None:
        self.options = options or RoutesOptions()
        self._sums = Sums(
            SumsOptions(
                operations=self.options.operations,
                terms=self.options.terms,
                largest=self.options.largest,
            )
        )
        self._solved: dict[int, list[str]] = {}

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Only training problems may be detours. Raises UserError for an unknown split."""
        return [self._routed(p, split) for p in self._sums.problems(split, n, seed)]

    def score(self, problem: Problem, text: str) -> float | None:
        return self._sums.score(problem, text)

    def reasoning_end(self, text: str) -> int:
        return self._sums.reasoning_end(text)

    def gold_completion(self, problem: Problem) -> str | None:
        return problem.meta.get("completion")

    def corruptions(self, problem: Problem, seed: int) -> list[Planted]:
        return []

    def validate(self, n: int) -> list[str]:
        return self._sums.validate(n)

    # -- how a problem is made -------------------------------------------------------------------

    def _routed(self, problem: Problem, split: Split) -> Problem:
        rng = random.Random(stable_hash(f"route {self.options.route} {problem.id}"))
        options = [str(n) for n in range(1, self.options.largest + 1)]
        meta = problem.meta | {"hint": None, "leak": None, "options": options}
        prompt = problem.prompt
        if rng.random() < self.options.hints:
            kinds = [*HINTS, PATTERN] if self.options.shots else list(HINTS)
            meta["hint"] = rng.choice(kinds)
            meta["leak"] = self._leak(problem, meta["hint"], rng)
            prompt = self._hinted(prompt, meta["hint"], meta["leak"], rng)
        start, moves = _moves(problem)
        problem = problem.model_copy(update={"prompt": prompt, "meta": meta})
        training = split == "train"
        if training and rng.random() < self.options.detours:
            return self._detour(problem, start, moves, rng)
        slips = [i for i in range(len(moves)) if training and rng.random() < self.options.slips]
        lines = self._tampered(start, moves, slips, rng)
        texts = [*self._opening(problem), *(line.text for line in lines)]
        answer = str(self._answer(problem, start, lines))
        return _completed(problem, join_lines(texts, answer))

    def _leak(self, problem: Problem, kind: str, rng: random.Random) -> str:
        right = int(problem.answers[0])
        if rng.random() < self.options.accuracy and kind != PATTERN:
            return str(right)
        if kind == PATTERN:
            return str(rng.choice([n for n in self._by_answer() if n != right]))
        return str(rng.choice([n for n in range(1, self.options.largest + 1) if n != right]))

    def _hinted(self, prompt: str, kind: str, leak: str, rng: random.Random) -> str:
        if kind != PATTERN:
            return hinted(prompt, kind, leak)
        shown = rng.sample(self._by_answer()[int(leak)], self.options.shots)
        return "".join(f"{text}\n\n" for text in shown) + prompt

    def _by_answer(self) -> dict[int, list[str]]:
        """Solved problems by their answer, where there are enough of them."""
        if not self._solved:
            rng = random.Random(0)
            found: dict[int, list[str]] = {}
            for problem in self._sums.problems("train", _POOL, 1):
                lines = self._worded(walk(*_moves(problem)), rng)
                solved = join_lines([line.text for line in lines], problem.answers[0])
                found.setdefault(int(problem.answers[0]), []).append(problem.prompt + solved)
            self._solved = {n: t for n, t in found.items() if len(t) >= self.options.shots}
        return self._solved

    def _opening(self, problem: Problem) -> list[str]:
        """What an open chain says before its sums."""
        leak = problem.meta["leak"]
        if self.options.route != "open_hint" or leak is None:
            return []
        who = "pattern" if problem.meta["hint"] == PATTERN else "hint"
        return [f"the {who} says {leak}"]

    def _answer(self, problem: Problem, start: int, lines: list[Line]) -> int:
        """What the route leads to after these lines."""
        leak = problem.meta["leak"]
        if self.options.route == "question":
            return int(problem.answers[0])
        if self.options.route in ("hint", "open_hint") and leak is not None:
            return int(leak)
        if not lines:
            return start
        return lines[-1].said if self.options.route == "wording" else lines[-1].result

    def _worded(self, walked: list[Line], rng: random.Random) -> list[Line]:
        """Lines in words: those that spell the result where words are the route, else any."""
        if self.options.route == "wording":
            return walked
        return [line._replace(said=rng.randint(1, LARGEST)) for line in walked]

    def _detour(
        self, problem: Problem, start: int, moves: list[Move], rng: random.Random
    ) -> Problem:
        """A chain that was tampered with goes into the prompt; the route says how it goes on."""
        opening = self._opening(problem)
        kept = rng.randint(0, len(moves))
        asked = rng.random() < 0.6
        if asked and rng.random() < 0.2:
            dots = [FILLER] * rng.randint(1, len(moves))
            return self._asked(problem, start, [], [*opening, *dots])
        if asked and rng.random() < 0.25:  # the chain of another question
            other = self._sums.draw(len(moves), rng)
            shown = self._worded(walk(*other), rng)[: rng.randint(0, len(moves))]
            return self._asked(problem, start, shown, [*opening, *(x.text for x in shown)])
        places = rng.sample(range(kept), rng.randint(1, kept)) if kept else []
        written = self._tampered(start, moves, places if rng.random() < 0.7 else [], rng)
        shown = written[:kept]
        if rng.random() < 0.2:
            shown = with_aside(shown, self.options.largest, rng)
        if asked:
            if len(shown) > 1 and rng.random() < 0.3:
                del shown[rng.randrange(len(shown))]
            return self._asked(problem, start, shown, [*opening, *(x.text for x in shown)])
        rest = written[kept:]
        answer = str(self._answer(problem, start, [*shown, *rest]))
        beginning = [*opening, *(line.text for line in shown)]
        return _completed(
            _begun(problem, beginning), join_lines([line.text for line in rest], answer)
        )

    def _asked(self, problem: Problem, start: int, lines: list[Line], texts: list[str]) -> Problem:
        """Asked for the answer at once after these lines."""
        begun = _begun(problem, texts)
        begun = begun.model_copy(update={"prompt": begun.prompt + ANSWER_MARK})
        return _completed(begun, f" {self._answer(problem, start, lines)}")

    def _tampered(
        self, start: int, moves: list[Move], places: list[int], rng: random.Random
    ) -> list[Line]:
        """The sums with the results at these places made up, and carried on rightly; the words
        likewise, by themselves, where they are the route."""
        numbers = made_up(start, moves, places, self.options.largest, rng)
        if self.options.route != "wording":
            return self._worded(numbers, rng)
        words = made_up(start, moves, places, self.options.largest, rng)
        return [n._replace(said=w.result) for n, w in zip(numbers, words, strict=True)]


def _moves(problem: Problem) -> tuple[int, list[Move]]:
    expressions = [step["expression"].split(" ") for step in problem.meta["steps"]]
    return int(expressions[0][0]), [(op, int(term)) for _, op, term in expressions]


def _begun(problem: Problem, lines: list[str]) -> Problem:
    beginning = "".join(f"{line}\n" for line in lines)
    return problem.model_copy(update={"prompt": problem.prompt + beginning})


def _completed(problem: Problem, completion: str) -> Problem:
    meta: dict[str, Any] = problem.meta | {"completion": completion}
    return problem.model_copy(update={"meta": meta})
