"""The adapter to TextWorld, on a stand-in for its package."""

import sys
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace

import pytest

from apportion.errors import UserError
from apportion.tasks import load_environment, load_task
from apportion.tasks.environment import Environment


class FakeGame:
    """Two rooms and a coin in the second; taking it wins."""

    started = 0

    def __init__(self):
        FakeGame.started += 1

    def _state(self, feedback):
        away = {"hall": ["go east"], "vault": ["go west", "take coin"]}
        walk = {"hall": ("go east", "take coin"), "vault": ("take coin",)}
        return SimpleNamespace(
            feedback=feedback,
            description=f"-= {self.room} =-\n\n  A room.",
            objective="Take the coin.",
            admissible_commands=away[self.room],
            policy_commands=() if self.won else walk[self.room],
            score=int(self.won),
            max_score=1,
            won=self.won,
        )

    def reset(self):
        self.room, self.won = "hall", False
        return self._state("banner")

    def step(self, command):
        self.room = {"go east": "vault", "go west": "hall"}.get(command, self.room)
        self.won = self.won or command == "take coin"
        return self._state(f"You {command}.\n"), 0, self.won


@pytest.fixture
def games(tmp_path, monkeypatch):
    package = ModuleType("textworld")
    package.EnvInfos = lambda **asked: asked
    package.start = lambda path, request_infos: FakeGame()
    monkeypatch.setitem(sys.modules, "textworld", package)
    for split, names in {"train": "abc", "validation": "d", "test": "ef"}.items():
        (tmp_path / split).mkdir()
        for name in names:
            (tmp_path / split / f"{name}.z8").touch()
    return str(tmp_path)


def test_an_episode(games):
    world = load_environment({"kind": "textworld", "games": games, "max_turns": 3})
    assert isinstance(world, Environment)
    (problem,) = world.problems("test", 1, 0)
    turn = world.reset(problem)
    assert problem.prompt == turn.text == "Take the coin.\n-= hall =-\nA room.\na go east\n"
    assert world.expert(turn) == ("go east, take coin", "a go east")
    second = world.step(turn, "a go east")
    assert second.text == "You go east.\na go west\nb take coin\n"
    won = world.step(second, "b take coin")
    assert (won.score, won.done, won.actions) == (1.0, True, ())
    # The same turn again: the game is played anew up to there.
    before = FakeGame.started
    back = world.step(second, "a go west")
    assert (back.actions, back.score, back.done) == (("a go east",), 0.0, False)
    assert FakeGame.started == before + 1
    with pytest.raises(UserError, match="no action 'a go north'"):
        world.step(second, "a go north")


def test_turns_run_out(games):
    world = load_environment({"kind": "textworld", "games": games, "max_turns": 1})
    turn = world.step(world.reset(world.problems("test", 1, 0)[0]), "a go east")
    assert (turn.done, turn.score, turn.actions) == (True, 0.0, ())


def test_the_plan_as_an_answer(games):
    world = load_task({"kind": "textworld", "games": games})
    (problem,) = world.problems("validation", 5, 0)
    assert problem.answers == ("go east, take coin",)
    assert world.score(problem, "#### go east, take coin") == 1.0
    assert world.score(problem, "#### take coin") == 0.0
    assert world.validate(2) == []


def test_splits_are_folders(games):
    world = load_task({"kind": "textworld", "games": games})
    names = [p.id for p in world.problems("train", 9, 3)]
    assert sorted(names) == [f"textworld-train-{n}" for n in "abc"]
    assert [p.id for p in world.problems("train", 2, 3)] == names[:2]
    with pytest.raises(UserError, match="games: no folder"):
        load_task({"kind": "textworld", "games": games + "x"})


@pytest.mark.skipif(find_spec("textworld") is not None, reason="TextWorld is installed")
def test_without_the_package(tmp_path):
    with pytest.raises(UserError, match=r"pip install 'apportion\[textworld\]'"):
        load_task({"kind": "textworld", "games": str(tmp_path)})
