"""The adventure of rooms: scripted play wins, play is deterministic, no play breaks it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.errors import UserError
from apportion.tasks import load_task, validate_task
from apportion.tasks.environment import Environment
from apportion.tasks.rooms import Rooms, RoomsOptions, way_to
from apportion.trace import Problem

HALL = {
    "exits": {
        "hall": {"east": "cellar"},
        "cellar": {"west": "hall", "north": "attic"},
        "attic": {"south": "cellar"},
    },
    "things": {"key": "attic", "chest": "hall"},
    "start": "hall",
    "stages": 2,
    "turns": 8,
}


def play(environment, problem, actions):
    turn = environment.reset(problem)
    for action in actions:
        turn = environment.step(turn, action)
    return turn


def hall(**changes):
    return Problem(id="p", prompt="map\n", answers=("",), meta=HALL | changes)


def test_an_episode_by_hand():
    rooms = Rooms()
    turn = rooms.reset(hall())
    assert (turn.text, turn.score, turn.done) == ("map\n", 0.0, False)
    assert turn.actions == ("east", "open chest")
    turn = rooms.step(turn, "open chest")  # locked
    assert (turn.text, turn.score, turn.state.left) == ("you in hall\n", 0.0, 7)
    turn = play(rooms, hall(), ["east", "north"])
    assert turn.actions == ("south", "take key")
    assert rooms.expert(turn) == ("key", "take key")
    turn = rooms.step(turn, "take key")
    assert (turn.text, turn.score) == ("you in attic with key\n", 0.5)
    assert turn.actions == ("south",)
    assert rooms.expert(turn) == ("chest hall cellar", "south")
    turn = play(rooms, hall(), ["east", "north", "take key", "south", "west", "open chest"])
    assert (turn.score, turn.done, turn.actions) == (1.0, True, ())


def test_a_lamp_is_of_use_at_the_shrine_only():
    rooms, things = Rooms(), HALL["things"] | {"shrine": "cellar"}
    problem = hall(things=things, stages=3, turns=20)
    opened = ["east", "north", "take key", "south", "west", "open chest"]
    turn = play(rooms, problem, opened)
    assert turn.actions == ("east", "use lamp")
    assert rooms.step(turn, "use lamp").score == pytest.approx(2 / 3)
    assert play(rooms, problem, [*opened, "east", "use lamp"]).score == 1.0


def test_turns_run_out():
    turn = play(Rooms(), hall(turns=2), ["east", "west"])
    assert (turn.score, turn.done) == (0.0, True)
    with pytest.raises(UserError, match="the episode is over"):
        Rooms().step(turn, "east")


def test_an_action_that_is_not_there():
    with pytest.raises(UserError, match=r"no action 'eats' \(did you mean 'east'\?\); now there"):
        Rooms().step(Rooms().reset(hall()), "eats")


def test_the_plan_as_an_answer():
    problem = Rooms().problems("test", 1, 0)[0]
    gold = Rooms().gold_completion(problem)
    assert gold is not None and Rooms().score(problem, gold) == 1.0
    assert Rooms().score(problem, "") == 0.0
    assert Rooms().score(hall(), "so\n#### east, north, take key, fly, south") == 0.5
    assert validate_task(Rooms(), 50) == []


@pytest.mark.parametrize("options", [{}, {"rooms": [2, 2]}, {"rooms": [10, 10], "stages": [3, 3]}])
def test_scripted_play_wins_in_time(options):
    rooms = load_task({"kind": "rooms"} | options)
    assert isinstance(rooms, Environment)
    for problem in rooms.problems("train", 100, 1):
        turn, moves = rooms.reset(problem), 0
        while (found := rooms.expert(turn)) is not None:
            turn, moves = rooms.step(turn, found[1]), moves + 1
        assert (turn.score, turn.done) == (1.0, True)
        assert moves == problem.meta["operations"] == problem.meta["turns"] - 2
        assert problem.meta["turns"] <= rooms.max_turns


def test_splits_share_no_map_and_draws_repeat():
    rooms = Rooms(RoomsOptions(rooms=(2, 3), stages=(1, 2)))
    prompts = {s: {p.prompt for p in rooms.problems(s, 300, 0)} for s in ("train", "test")}
    assert not prompts["train"] & prompts["test"]
    assert rooms.problems("train", 20, 5) == rooms.problems("train", 30, 5)[:20]
    assert rooms.problems("train", 20, 5) != rooms.problems("train", 20, 6)


@given(st.integers(0, 10_000), st.lists(st.integers(0, 9), max_size=60))
@settings(max_examples=60, deadline=None)
def test_random_play_never_breaks_it(seed, choices):
    rooms = Rooms()
    problem = rooms.problems("train", 1, seed)[0]
    turn, again, scores = rooms.reset(problem), rooms.reset(problem), [0.0]
    for choice in choices:
        if turn.done:
            break
        action = turn.actions[choice % len(turn.actions)]
        turn, again = rooms.step(turn, action), rooms.step(again, action)
        assert turn == again
        assert turn.text.endswith("\n") and bool(turn.actions) != turn.done
        scores.append(turn.score)
    assert scores == sorted(scores) and 0 <= scores[-1] <= 1
    assert len(scores) - 1 <= problem.meta["turns"] <= rooms.max_turns


@pytest.mark.parametrize(
    "options", [{"rooms": [1, 3]}, {"rooms": [4, 11]}, {"stages": [0, 1]}, {"slack": -1}]
)
def test_bad_options(options):
    with pytest.raises(UserError, match="task rooms: option"):
        load_task({"kind": "rooms"} | options)


def test_way_to():
    assert way_to(HALL["exits"], "hall", "hall") == []
    assert way_to(HALL["exits"], "hall", "attic") == [("east", "cellar"), ("north", "attic")]
