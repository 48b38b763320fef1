"""The protocol of environments: tasks that are played turn by turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from apportion.errors import UserError, nearest
from apportion.tasks.answers import after_mark
from apportion.tasks.base import Task
from apportion.trace import Problem


@dataclass(frozen=True)
class Turn:
    """What an agent reads before it acts, and what it may do.

    ``text`` ends a line. ``actions`` is empty once the episode is over (``done``). ``score`` is the
    return so far, in [0, 1]. ``state`` belongs to the environment.
    """

    text: str
    actions: tuple[str, ...]
    score: float
    done: bool
    state: Any


@runtime_checkable
class Environment(Task, Protocol):
    """A task whose problems are played: ``reset`` begins the episode of a problem, ``step`` goes on
    with one of ``Turn.actions`` (UserError for any other). No episode has more than ``max_turns``
    actions.

    ``expert`` is a scripted player: what it thinks, in one line, and what it does; None where the
    environment has none, or does not know what to do. Playing it from the start gives score 1.
    """

    @property
    def max_turns(self) -> int: ...

    def reset(self, problem: Problem) -> Turn: ...

    def step(self, turn: Turn, action: str) -> Turn: ...

    def expert(self, turn: Turn) -> tuple[str, str] | None: ...


def check_action(name: str, turn: Turn, action: str) -> None:
    """Raises UserError for an action that the turn does not offer, and after the end."""
    if turn.done:
        raise UserError(f"task {name}: the episode is over: reset it before '{action}'")
    if action not in turn.actions:
        close = nearest(action, list(turn.actions))
        raise UserError(
            f"task {name}: no action '{action}'{close}; now there are {', '.join(turn.actions)}"
        )


def play_plan(
    environment: Environment,
    problem: Problem,
    text: str,
    said: Callable[[str], str] = lambda action: action,
) -> float | None:
    """The score of playing the first ``####`` line of a completion, actions with commas between
    them, up to one that is not possible; ``said`` is how an action is written there. None where
    the problem has no reference plan."""
    if not problem.answers:
        return None
    turn = environment.reset(problem)
    for wanted in (after_mark(text) or "").split("\n", 1)[0].split(","):
        found = [action for action in turn.actions if said(action) == wanted.strip()]
        if not found:
            break
        turn = environment.step(turn, found[0])
    return turn.score
