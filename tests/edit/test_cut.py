"""Cutting after the commitment point."""

import pytest

from apportion.edit import edit_chain
from apportion.edit.answer import cue, states
from tests.edit.helpers import chain, edited, reasoning

SUM = ("3 * 4 = 12", "useful")
CHECK = ("check: 12 / 4 = 3", "disputed", [0])
AGAIN = ("so it is 12", "disputed", [0])


def test_what_follows_the_committing_step_goes():
    edit = edited(["cut"], SUM, CHECK, AGAIN)
    assert edit.text == "3 * 4 = 12\n#### 12"
    assert edit.why == ("cut the last 2 steps: step 0 already has the answer",)
    assert [s.kind for s in edit.spans] == ["kept", "moved"]


def test_without_a_dependency_the_last_statement_counts():
    edit = edited(["cut"], SUM, ("so it is 12", "disputed"), ("it is noon", "disputed"))
    assert reasoning(edit) == ["3 * 4 = 12", "so it is 12"]


def test_an_agreed_useful_step_is_not_cut():
    assert not edited(["cut"], SUM, ("24 - 12 = 12", "useful", [0])).changed
    assert not edited(["cut"], SUM, AGAIN, ("bags", "useful")).changed


def test_a_chain_that_never_states_its_answer_is_left_alone():
    assert not edited(["cut"], ("3 * 4", "useful"), ("12 * 1 is it", None), answer="").changed
    assert not edited(["cut"], ("3 * 4 = 11", "useful"), ("hm", "disputed")).changed


def test_a_probed_point_is_taken_as_it_is():
    rollout, agreed = chain(("a = 1", "useful"), ("b = 2", "useful"), ("c = 12", "useful"))
    edit = edit_chain(rollout, agreed, ["cut"], commitment=len("a = 1\n"))
    assert reasoning(edit) == ["a = 1"]
    assert not edit_chain(rollout, agreed, ["cut"], commitment=rollout.reasoning_end).changed
    assert edit_chain(rollout, agreed, ["cut"], commitment=0).refused


@pytest.mark.parametrize(
    ("text", "answer", "yes"),
    [
        ("3 * 4 = 12", "12", True),
        ("12 - 4 = 8", "12", False),  # an operand is not the result
        ("that makes 12 dollars", "$12.00", True),
        ("so 1,200 of them", "1200", True),
        ("so 112", "12", False),
        ("It is Paris.", "paris", True),
        ("Parisian", "Paris", False),
    ],
)
def test_what_states_an_answer(text, answer, yes):
    assert states(text, answer) is yes


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("#### 12", "####"),
        ("The answer is 12.", "The answer is"),
        ("", ""),
        ("Answer: 12", "Answer:"),
        ("12", ""),  # nothing stands before it
        ("First 3 * 4 makes 12, so\n#### 12", ""),  # more than a mark
    ],
)
def test_the_cue_asks_for_the_answer_at_once(answer, expected):
    assert cue(chain(SUM, answer=answer)[0]) == expected
