"""Reordering: each step right after what it uses, and nothing else moves."""

import pytest

from tests.edit.helpers import edited, reasoning


def test_a_step_comes_right_after_what_it_uses():
    edit = edited(
        ["reorder"],
        ("a", "useful"),
        ("x", "useful"),
        ("b", "useful", [0]),
        ("c", "useful", [2, 1]),
    )
    assert reasoning(edit) == ["x", "a", "b", "c"]
    assert [s.kind for s in edit.spans] == ["moved", "moved", "moved", "kept", "kept"]
    assert edit.why == ("reordered 2 steps",)


@pytest.mark.parametrize("edges", [[[], [0], [1]], [[], [], []], [[], [0], [0]], [[], [], [0, 1]]])
def test_a_chain_without_detours_does_not_change(edges):
    steps = [(text, "useful", inputs) for text, inputs in zip("abc", edges, strict=True)]
    edit = edited(["reorder"], *steps)
    assert not edit.changed and [s.kind for s in edit.spans] == ["kept"] * 4


def test_a_step_before_what_it_uses_is_moved_behind_it():
    edit = edited(["reorder"], ("b", "useful", [1]), ("a", "useful"), ("c", "useful", [0]))
    assert reasoning(edit) == ["a", "b", "c"]


def test_nothing_passes_an_unreviewed_step():
    edit = edited(["reorder"], ("b", "useful", [2]), ("?", None), ("a", "useful"))
    assert not edit.changed


@pytest.mark.parametrize(("edges", "circle"), [([[1], [0]], "0 -> 1 -> 0"), ([[0], []], "0 -> 0")])
def test_a_circle_is_refused_and_named(edges, circle):
    steps = [(text, "useful", inputs) for text, inputs in zip("ab", edges, strict=True)]
    edit = edited(["reorder"], *steps)
    named = edit.refused.removeprefix("steps depend on each other in a circle: ")
    assert named in (circle, "1 -> 0 -> 1") and edit.text == "a\nb\n#### 12"


def test_a_last_step_without_line_end_gets_one_when_it_moves():
    edit = edited(
        ["reorder"],
        ("b uses a. ", "useful", [1]),
        ("a stands.\n", "useful"),
        body="as given",
    )
    assert edit.text == "a stands.\nb uses a. \n#### 12"
    assert [s.kind for s in edit.spans] == ["moved", "moved", "inserted", "moved"]
