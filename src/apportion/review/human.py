"""The reviewer that is a person: labels from a file, or asked for at the terminal."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Sequence

from apportion.errors import UserError
from apportion.review.labels import Labels
from apportion.trace import Label, Problem, Review, Step, StepVerdict

_KEYS: dict[str, Label | None] = {"u": "useful", "i": "irrelevant", "h": "harmful", "-": None}


class HumanReviewer:
    """Labels that a person gave, by rollout id and step of the given cut. A step without a label
    is an abstention; an unknown rollout, or a label for a step that the cut does not have, is a
    failed review."""

    critiques = 1

    def __init__(self, labels: Labels, name: str = "human") -> None:
        self.name, self.labels = name, labels

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
        labels = self.labels.get(rollout_id)
        error = None
        if labels is None:
            error = f"no labels for rollout '{rollout_id}'"
        elif max(labels) >= len(steps):
            error = f"step {max(labels)} is labelled, but the cut has {len(steps)} steps"
        elif any(d >= step for step, verdict in labels.items() for d in verdict.depends_on):
            error = "a step depends on itself or a later one"
        if labels is None or error is not None:
            return Review(rollout_id=rollout_id, reviewer=self.name, critique=critique, error=error)
        return Review(
            rollout_id=rollout_id,
            reviewer=self.name,
            critique=critique,
            steps=tuple(steps),
            verdicts=tuple(labels.get(index, StepVerdict()) for index in range(len(steps))),
        )


class TerminalReviewer:
    """Asks the person at the terminal about each step: u(seful), i(rrelevant), h(armful), or
    - for no opinion. One rollout at a time. The end of the input fails the review."""

    critiques = 1

    def __init__(
        self,
        name: str = "human",
        ask: Callable[[str], str] | None = None,
        show: Callable[[str], None] | None = None,
    ) -> None:
        """``ask`` returns one of the four keys, ``show`` prints; by default at the terminal.

        Raises UserError where the standard input is none.
        """
        if ask is None and not sys.stdin.isatty():
            raise UserError(
                f"reviewer {name}: there is no terminal to ask at: give 'labels', a JSONL or CSV "
                "file with rollout_id, step and label"
            )
        self.name = name
        self._ask, self._show = ask or _ask_terminal, show or _show_terminal
        self._turn = threading.Lock()

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
        try:
            verdicts = await asyncio.to_thread(self._question, problem, rollout_text, steps)
        except (EOFError, KeyboardInterrupt):
            return Review(
                rollout_id=rollout_id,
                reviewer=self.name,
                critique=critique,
                error="the person stopped answering",
            )
        return Review(
            rollout_id=rollout_id,
            reviewer=self.name,
            critique=critique,
            steps=tuple(steps),
            verdicts=verdicts,
        )

    def _question(
        self, problem: Problem, text: str, steps: Sequence[Step]
    ) -> tuple[StepVerdict, ...]:
        with self._turn:
            self._show(f"\nProblem: {problem.prompt.strip()}\n\n{text.strip()}\n")
            return tuple(self._one(index, step.text(text)) for index, step in enumerate(steps))

    def _one(self, index: int, text: str) -> StepVerdict:
        key = self._ask(f"[{index}] {text.strip()}")
        label = _KEYS[key]
        if label is None:
            return StepVerdict()
        return StepVerdict(label=label, correct=False if label == "harmful" else None)


def _ask_terminal(question: str) -> str:
    from rich.markup import escape
    from rich.prompt import Prompt

    _show_terminal(question)
    return Prompt.ask(escape("useful, irrelevant, harmful?"), choices=list(_KEYS), default="-")


def _show_terminal(text: str) -> None:
    from rich.console import Console

    # Model text may look like markup.
    Console().print(text, markup=False, highlight=False)
