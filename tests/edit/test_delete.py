"""Deleting: what is irrelevant goes, with what only that fed; what carries the answer stays."""

from tests.edit.helpers import edited, reasoning


def test_an_irrelevant_step_goes_and_the_answer_stays():
    edit = edited(["delete"], ("3 * 4 = 12", "useful"), ("it is noon", "irrelevant"))
    assert edit.text == "3 * 4 = 12\n#### 12"
    assert edit.operations == ("delete",)
    assert [span.kind for span in edit.spans] == ["kept", "moved"]
    assert edit.why == ("deleted 1 step called irrelevant",)


def test_what_only_deleted_steps_fed_goes_too():
    edit = edited(
        ["delete"],
        ("9 - 2 = 7", "irrelevant"),
        ("7 + 1 = 8", "disputed", [0]),
        ("8 + 1 = 9", None, [1]),
        ("3 * 4 = 12", "useful"),
        ("so 12 and 7", "disputed", [0, 3]),
    )
    assert reasoning(edit) == ["3 * 4 = 12", "so 12 and 7"]
    assert edit.why == ("deleted 1 step called irrelevant, and 2 that only they fed",)


def test_a_step_that_an_agreed_useful_one_rests_on_stays():
    edit = edited(
        ["delete"],
        ("9 - 2 = 7", "irrelevant"),
        ("7 + 1 = 8", "disputed", [0]),
        ("8 + 4 = 12", "useful", [1]),
    )
    assert not edit.changed and edit.text.startswith("9 - 2 = 7\n7 + 1")


def test_disputed_and_unreviewed_steps_stay():
    edit = edited(["delete"], ("a", "disputed"), ("b", None), ("c", "harmful"))
    assert not edit.changed and not edit.refused and edit.why == ()


def test_an_edit_that_empties_the_chain_is_refused():
    edit = edited(["delete"], ("it is noon", "irrelevant"), ("so late", None, [0]))
    assert edit.refused == "nothing of the reasoning is left after delete"
    assert edit.changed and not edit.usable
    assert edit.text == "#### 12"


def test_a_chain_of_many_steps_is_quick():
    steps = [
        ("x", "irrelevant" if i == 0 else "disputed", [i - 1] if i else []) for i in range(800)
    ]
    assert edited(["delete"], *steps, ("3 * 4 = 12", "useful")).text == "3 * 4 = 12\n#### 12"
