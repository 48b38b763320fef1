"""Games of TextWorld (arXiv 1806.11532) as an environment. Its package is an extra."""

from __future__ import annotations

import random
import re
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from apportion.errors import UserError
from apportion.tasks.base import Planted, Split, TaskOptions, check_split, complaints_of
from apportion.tasks.environment import Turn, check_action, play_plan
from apportion.tasks.lines import join_lines, reasoning_end
from apportion.tasks.stable import stable_hash
from apportion.trace import Problem

_GAMES = (".z8", ".ulx")
_PLANNED = 3  # commands of the walkthrough that the scripted player thinks of


class TextWorldOptions(TaskOptions):
    """``games`` is a folder with the folders train, validation and test, which hold games that
    ``tw-make`` wrote (.z8 or .ulx, each with its .json)."""

    games: str
    max_turns: int = Field(default=30, ge=1)


@dataclass
class _Session:
    """A running game, and how many commands it was given."""

    game: Any
    moves: int = 0


@dataclass(frozen=True)
class _Place:
    """The commands so far; ``session`` is where they were played, and may have gone on since."""

    path: str
    commands: tuple[str, ...]
    session: _Session
    plan: tuple[str, ...]


class TextWorld:
    """The task ``textworld``, which is also an Environment.

    An action is a letter and a command, such as ``a go east``, since commands begin alike. As a
    task of one completion the answer is the plan, commands after ``####`` with commas between them.

    Raises:
        UserError: textworld is missing, or there is no folder of games.
    """

    name = "textworld"

    def __init__(self, options: TextWorldOptions) -> None:
        self.options = options
        self._problems: dict[Path, Problem] = {}
        _package()
        if not Path(options.games).is_dir():
            raise UserError(f"task textworld: games: no folder '{options.games}'")

    @property
    def max_turns(self) -> int:
        return self.options.max_turns

    # -- a task ----------------------------------------------------------------------------------

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """At most as many as the split has games, in an order that ``seed`` decides.

        Raises UserError for an unknown split and for a folder without games.
        """
        check_split(split)
        folder = Path(self.options.games) / split
        files = sorted(path for ext in _GAMES for path in folder.glob(f"*{ext}"))
        if not files:
            raise UserError(f"task textworld: no games (.z8, .ulx) in '{folder}': run tw-make")
        random.Random(stable_hash(f"textworld {split} {seed}")).shuffle(files)
        return [self._problem(split, path) for path in files[:n]]

    def score(self, problem: Problem, text: str) -> float | None:
        return play_plan(self, problem, text, _command)

    reasoning_end = staticmethod(reasoning_end)

    def gold_completion(self, problem: Problem) -> str | None:
        return join_lines([], problem.answers[0]) if problem.answers else None

    def corruptions(self, problem: Problem, seed: int) -> list[Planted]:
        """None: no reviewer here reads games."""
        return []

    def validate(self, n: int) -> list[str]:
        return complaints_of(self, n, lambda problem: "#### dance")

    # -- an environment --------------------------------------------------------------------------

    def reset(self, problem: Problem) -> Turn:
        return self._begin(problem.meta["game"])[1]

    def step(self, turn: Turn, action: str) -> Turn:
        """A turn that was stepped from before is played again from the start of its game."""
        check_action(self.name, turn, action)
        place: _Place = turn.state
        session = place.session
        if session.moves != len(place.commands):
            session, _ = self._begin(place.path)
            for command in place.commands:
                session.game.step(command)
                session.moves += 1
        state, _, done = session.game.step(_command(action))
        session.moves += 1
        commands = (*place.commands, _command(action))
        return self._turn(place.path, commands, session, state, done, str(state.feedback))

    def expert(self, turn: Turn) -> tuple[str, str] | None:
        """TextWorld's own walkthrough from here: the next commands, and the next one."""
        place: _Place = turn.state
        found = [a for a in turn.actions if place.plan and _command(a) == place.plan[0]]
        return (", ".join(place.plan[:_PLANNED]), found[0]) if found else None

    def _begin(self, path: str) -> tuple[_Session, Turn]:
        textworld = _package()
        asked = textworld.EnvInfos(
            feedback=True,
            description=True,
            objective=True,
            admissible_commands=True,
            policy_commands=True,
            max_score=True,
            score=True,
            won=True,
        )
        try:
            game = textworld.start(path, request_infos=asked)
            state = game.reset()
        except Exception as error:
            raise UserError(f"{path}: TextWorld cannot play it ({error})") from None
        session = _Session(game)
        text = f"{state.objective}\n{state.description}"
        return session, self._turn(path, (), session, state, False, text)

    def _turn(
        self,
        path: str,
        commands: tuple[str, ...],
        session: _Session,
        state: Any,
        done: bool,
        text: str,
    ) -> Turn:
        done = done or len(commands) >= self.options.max_turns
        score = 1.0 if state.won else (state.score or 0) / max(1, state.max_score or 1)
        possible = [] if done else list(state.admissible_commands or ())
        if len(possible) > len(string.ascii_lowercase):
            raise UserError(
                f"{path}: {len(possible)} commands are possible at once, and there are 26 letters"
            )
        actions = tuple(f"{a} {c}" for a, c in zip(string.ascii_lowercase, possible, strict=False))
        lines = re.sub(r"\s*\n\s*", "\n", text).strip()
        plan = tuple(state.policy_commands or ())
        place = _Place(path, commands, session, plan)
        return Turn("\n".join([lines, *actions, ""]), actions, float(score), done, place)

    def _problem(self, split: Split, path: Path) -> Problem:
        if path not in self._problems:
            _, turn = self._begin(str(path))
            plan = turn.state.plan
            self._problems[path] = Problem(
                id=f"textworld-{split}-{path.stem}",
                prompt=turn.text,
                answers=(", ".join(plan),) if plan else (),
                meta={"game": str(path), "operations": len(plan)},
            )
        return self._problems[path]


def _command(action: str) -> str:
    """Without its letter."""
    return action.split(" ", 1)[-1]


def _package() -> Any:
    try:
        import textworld
    except ImportError:
        raise UserError(
            "task textworld: needs TextWorld: pip install 'apportion[textworld]'"
        ) from None
    return textworld
