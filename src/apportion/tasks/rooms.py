"""A text adventure of rooms and items, small enough that a policy learns it in minutes.

A map of rooms is read once. The key has to be taken, the chest opened with it, and the lamp from
the chest used at the shrine, before the turns run out: what each move is good for has to be thought
out on the map, and only the moves are actions.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field, field_validator

from apportion.tasks.base import Planted, Split, TaskOptions, check_split, complaints_of
from apportion.tasks.environment import Turn, check_action, play_plan
from apportion.tasks.lines import join_lines, reasoning_end
from apportion.tasks.made import check_range, split_by_hash
from apportion.tasks.stable import stable_hash
from apportion.trace import Problem

MOVES = {"north": (0, 1), "east": (1, 0), "south": (0, -1), "west": (-1, 0)}
_BACK = {"north": "south", "east": "west", "south": "north", "west": "east"}
_NAMES = (
    *("hall", "attic", "cellar", "garden", "kitchen"),
    *("library", "tower", "porch", "vault", "study"),
)
# What each stage is about: the thing, and the action that ends the stage where the thing is.
_STAGES = (("key", "take key"), ("chest", "open chest"), ("shrine", "use lamp"))
_HELD = ("", " with key", " with lamp", "")


class RoomsOptions(TaskOptions):
    """``rooms`` and ``stages`` are [lowest, highest]. Stages are taking the key, opening the chest
    and using the lamp; one that is over gives its share of the return. There are ``slack`` turns
    more than the shortest way needs."""

    rooms: tuple[int, int] = (4, 6)
    stages: tuple[int, int] = (1, 3)
    slack: int = Field(default=2, ge=0)

    @field_validator("rooms", "stages")
    @classmethod
    def _ranges(cls, value: tuple[int, int], info: Any) -> tuple[int, int]:
        lowest, highest = {"rooms": (2, len(_NAMES)), "stages": (1, 3)}[info.field_name]
        return check_range(value, lowest, highest)


@dataclass(frozen=True)
class Place:
    """Where an episode stands: the map, the room, stages over, and turns left."""

    map: dict[str, Any]
    room: str
    stage: int
    left: int


class Rooms:
    """The task ``rooms``, which is also an Environment; options in :class:`RoomsOptions`.

    As a task of one completion, the answer is the whole plan: its actions after ``####``, with
    commas between them, and the score is the return of playing it.
    """

    name = "rooms"

    def __init__(self, options: RoomsOptions | None = None) -> None:
        self.options = options or RoomsOptions()

    @property
    def max_turns(self) -> int:
        """A tree of n rooms is at most n - 1 moves wide, at each stage."""
        return self.options.stages[1] * self.options.rooms[1] + self.options.slack

    # -- a task ----------------------------------------------------------------------------------

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """No prompt occurs in two splits. Raises UserError for an unknown split."""
        check_split(split)
        return [self._problem(split, index, seed) for index in range(n)]

    def score(self, problem: Problem, text: str) -> float | None:
        """The return of the actions in the first ``####`` line, up to one that cannot be done."""
        return play_plan(self, problem, text)

    reasoning_end = staticmethod(reasoning_end)

    def gold_completion(self, problem: Problem) -> str | None:
        thoughts, _ = self._play(problem)
        return join_lines(thoughts, problem.answers[0])

    def corruptions(self, problem: Problem, seed: int) -> list[Planted]:
        """None: no reviewer here reads maps."""
        return []

    def validate(self, n: int) -> list[str]:
        return complaints_of(self, n, lambda problem: "#### wait")

    # -- an environment --------------------------------------------------------------------------

    def reset(self, problem: Problem) -> Turn:
        meta = problem.meta
        first = self._turn(Place(meta, meta["start"], 0, meta["turns"]))
        return replace(first, text=problem.prompt)

    def step(self, turn: Turn, action: str) -> Turn:
        """Moves lead on; an action at the wrong stage, or in the wrong room, does nothing."""
        check_action(self.name, turn, action)
        place: Place = turn.state
        exits = place.map["exits"][place.room]
        room = exits.get(action, place.room)
        thing, deed = _STAGES[place.stage]
        over = action == deed and place.map["things"][thing] == place.room
        return self._turn(Place(place.map, room, place.stage + over, place.left - 1))

    def expert(self, turn: Turn) -> tuple[str, str] | None:
        """The shortest way; its thought is what is wanted, then the rooms back from there."""
        if turn.done:
            return None
        place: Place = turn.state
        thing, deed = _STAGES[place.stage]
        way = way_to(place.map["exits"], place.room, place.map["things"][thing])
        rooms = [room for _, room in reversed(way)]
        return " ".join([thing, *rooms]), way[0][0] if way else deed

    def _turn(self, place: Place) -> Turn:
        stages = place.map["stages"]
        done = place.stage == stages or not place.left
        text = f"you in {place.room}{_HELD[place.stage]}\n"
        actions = () if done else tuple(self._actions(place))
        return Turn(text, actions, place.stage / stages, done, place)

    def _actions(self, place: Place) -> list[str]:
        """The exits, and what can be tried with the things that are here or held."""
        things = place.map["things"]
        found = [move for move in MOVES if move in place.map["exits"][place.room]]
        if place.stage == 0 and things["key"] == place.room:
            found.append("take key")
        if place.stage < 2 and things.get("chest") == place.room:
            found.append("open chest")
        if place.stage == 2:
            found.append("use lamp")
        return found

    # -- drawing ---------------------------------------------------------------------------------

    def _problem(self, split: Split, index: int, seed: int) -> Problem:
        rng = random.Random(stable_hash(f"rooms {seed} {split} {index}"))
        while True:
            drawn = self._draw(rng)
            prompt = _prompt(drawn)
            if split_by_hash(prompt) == split:
                break
        name = f"rooms-{split}-{seed}-{index}"
        endless = Problem(id=name, prompt=prompt, meta=drawn | {"turns": 10**6})
        _, plan = self._play(endless)
        meta = drawn | {"turns": len(plan) + self.options.slack, "operations": len(plan)}
        return Problem(id=name, prompt=prompt, answers=(", ".join(plan),), meta=meta)

    def _draw(self, rng: random.Random) -> dict[str, Any]:
        """A tree of rooms on a grid, and where things are; nothing is where it is needed."""
        count = rng.randint(*self.options.rooms)
        stages = rng.randint(*self.options.stages)
        names = rng.sample(_NAMES, count)
        cells = {names[0]: (0, 0)}
        exits: dict[str, dict[str, str]] = {name: {} for name in names}
        edges = []
        for name in names[1:]:
            free = [
                (other, move, cell)
                for other, (x, y) in cells.items()
                for move, (dx, dy) in MOVES.items()
                if (cell := (x + dx, y + dy)) not in cells.values()
            ]
            other, move, cells[name] = rng.choice(free)
            exits[other][move], exits[name][_BACK[move]] = name, other
            edges.append([other, move, name])
        rng.shuffle(edges)
        room = start = rng.choice(names)
        things = {}
        for thing, _ in _STAGES[:stages]:
            room = rng.choice([name for name in names if name != room])
            things[thing] = room
        return {"exits": exits, "edges": edges, "things": things, "start": start, "stages": stages}

    def _play(self, problem: Problem) -> tuple[list[str], list[str]]:
        """(thoughts, actions) of the scripted player."""
        turn, thoughts, actions = self.reset(problem), [], []
        while (found := self.expert(turn)) is not None:
            thoughts.append(found[0])
            actions.append(found[1])
            turn = self.step(turn, found[1])
        return thoughts, actions


def way_to(exits: dict[str, dict[str, str]], start: str, goal: str) -> list[tuple[str, str]]:
    """The shortest way, as (move, room it leads to); empty where one is there already."""
    came: dict[str, tuple[str, str]] = {}
    queue = deque([start])
    while queue and goal not in came and goal != start:
        room = queue.popleft()
        for move, other in exits[room].items():
            if other != start and other not in came:
                came[other] = (move, room)
                queue.append(other)
    way, room = [], goal
    while room != start:
        move, before = came[room]
        way.append((move, room))
        room = before
    return way[::-1]


def _prompt(drawn: dict[str, Any]) -> str:
    lines = [f"map {room} {move} {other}" for room, move, other in drawn["edges"]]
    lines += [f"{thing} in {room}" for thing, room in drawn["things"].items()]
    return "\n".join([*lines, f"you in {drawn['start']}", ""])
