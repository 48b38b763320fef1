"""Correcting and replacing a harmful step, closed where the rest stands, else open."""

import pytest

from tests.edit.helpers import edited, reasoning

WRONG = ("3 * 4 = 13", "harmful", [], "3 * 4 = 12")


def test_a_right_chain_that_does_not_use_the_harmful_step_keeps_its_rest():
    edit = edited(["correct"], WRONG, ("12 is 3 * 4", "useful"))
    assert reasoning(edit) == ["3 * 4 = 13", "Wait, that is wrong.", "3 * 4 = 12", "12 is 3 * 4"]
    assert edit.text.endswith("#### 12") and not edit.open
    assert [s.kind for s in edit.spans] == ["kept", "inserted", "inserted", "moved", "kept"]


@pytest.mark.parametrize(
    ("rest", "outcome"),
    [
        ([("13 - 1 = 12", "useful", [0])], 1.0),  # rests on the harmful step
        ([("x", "disputed", [0]), ("13 - 1 = 12", "useful", [1])], 1.0),  # through another
        ([("5 - 1 = 3", "harmful")], 1.0),  # another harmful step
        ([("12 is 3 * 4", "useful")], 0.0),  # the answer is wrong
        ([("12 is 3 * 4", "useful")], None),  # nobody knows
    ],
)
def test_otherwise_the_policy_has_to_go_on(rest, outcome):
    edit = edited(["correct"], WRONG, *rest, outcome=outcome)
    assert edit.text == "3 * 4 = 13\nWait, that is wrong.\n3 * 4 = 12\n"
    assert edit.open and not edit.usable and edit.reasoning_end == len(edit.text)
    assert edit.why[0].endswith("the policy goes on from there")


def test_without_a_proposal_there_is_the_comment_alone():
    edit = edited(["correct"], ("a", "useful"), ("3 * 4 = 13", "harmful"), ("b", "useful"))
    assert reasoning(edit) == ["a", "3 * 4 = 13", "Wait, that is wrong.", "b"]


def test_replacing_shows_no_mistake():
    edit = edited(["replace"], ("a", "useful"), WRONG, ("12 is 3 * 4", "useful"))
    assert reasoning(edit) == ["a", "3 * 4 = 12", "12 is 3 * 4"]
    edit = edited(["replace"], ("a", "useful"), WRONG, ("13 - 1", "useful", [1]))
    assert edit.text == "a\n3 * 4 = 12\n" and edit.open


def test_replacing_the_first_step_by_nothing_leaves_nothing():
    edit = edited(["replace"], ("3 * 4 = 13", "harmful"), ("13 - 1", "useful", [0]))
    assert edit.refused == "nothing of the reasoning is left after replace"


def test_one_proposal_for_a_step_that_others_cut_in_two_comes_once():
    first = ("3 * 4 ", "harmful", [], "3 * 4 = 12\n")
    second = ("= 13\n", "harmful", [], "3 * 4 = 12\n")
    edit = edited(["replace"], first, second, ("12 it is\n", "useful"), body="as given")
    assert edit.text == "3 * 4 = 12\n12 it is\n#### 12"


def test_a_step_that_ends_the_text_gets_a_separator():
    edit = edited(
        ["correct"], ("a. ", "useful"), ("b.", "harmful"), body="as given", answer="", outcome=0.0
    )
    assert edit.text == "a. b. Wait, that is wrong. "


def test_a_chain_without_harmful_steps_does_not_change():
    assert not edited(["correct"], ("a", "useful"), ("b", "disputed")).changed
