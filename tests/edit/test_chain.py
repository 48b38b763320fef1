"""What holds for every operation on every chain."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion import UserError
from apportion.edit import OPERATIONS, edit_chain
from apportion.trace import Consensus, Edit, Problem, Rollout
from tests.edit.helpers import PROBLEM, chain, edited

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="<"), min_size=1, max_size=6)
LABELS = st.sampled_from(["useful", "irrelevant", "harmful", "disputed", None])


@st.composite
def chains(draw, forward=False):
    count = draw(st.integers(1, 7))
    steps = []
    for i in range(count):
        sources = st.integers(0, count - 1 if forward else max(0, i - 1))
        inputs = draw(st.lists(sources, max_size=3, unique=True)) if i or forward else []
        steps.append((draw(WORDS), draw(LABELS), inputs, draw(st.sampled_from(["", "x = 1"]))))
    answer = draw(st.sampled_from(["", "#### 12", "the answer is é"]))
    return chain(*steps, answer=answer, outcome=draw(st.sampled_from([1.0, 0.0, None])))


@st.composite
def operations(draw):
    chosen = draw(st.sets(st.sampled_from([*OPERATIONS]), min_size=1))
    return sorted(chosen - {"replace"} if {"replace", "correct"} <= chosen else chosen)


@settings(deadline=None, max_examples=100)
@given(case=chains(forward=True), asked=operations())
def test_old_text_is_literally_from_the_original_and_the_answer_stays(case, asked):
    rollout, agreed = case
    edit = edit_chain(rollout, agreed, asked)
    for start, end, kind, source in edit.spans:
        assert (kind == "inserted") == (source is None)
        if source is not None:
            assert edit.text[start:end] == rollout.text[slice(*source)]
    sources = [s.source for s in edit.spans if s.source]
    assert len(set(sources)) == len(sources)
    if not edit.open:
        assert edit.text[edit.reasoning_end :] == rollout.text[rollout.reasoning_end :]
    if not edit.changed:
        assert edit.text == rollout.text
    assert Edit.model_validate_json(edit.model_dump_json()) == edit
    assert edit == edit_chain(rollout, agreed, asked)


@settings(deadline=None, max_examples=50)
@given(case=chains(), asked=st.sampled_from([["delete"], ["cut"], ["cut", "delete"]]))
def test_taking_out_keeps_the_order_and_adds_at_most_blanks(case, asked):
    rollout, agreed = case
    edit = edit_chain(rollout, agreed, asked)
    sources = [s.source for s in edit.spans if s.source]
    assert sources == sorted(sources)
    assert all(not edit.text[a:b].strip() for a, b, kind, _ in edit.spans if kind == "inserted")
    if edit.changed:
        assert len(edit.text) < len(rollout.text)


@settings(deadline=None, max_examples=50)
@given(case=chains(forward=True))
def test_reordering_is_a_permutation_in_which_inputs_come_first(case):
    rollout, agreed = case
    edit = edit_chain(rollout, agreed, ["reorder"])
    if edit.refused:
        assert "circle" in edit.refused
        return
    if not edit.changed:
        assert all(s.kind == "kept" for s in edit.spans)
        return
    starts = [s.source[0] for s in edit.spans if s.source and s.source[0] < rollout.reasoning_end]
    assert sorted(starts) == [step.start for step in agreed.steps]
    place = {starts.index(step.start): i for i, step in enumerate(agreed.steps)}
    order = [place[position] for position in range(len(starts))]
    if all(step.status != "unreviewed" for step in agreed.steps):
        for i, step in enumerate(agreed.steps):
            assert all(order.index(source) < order.index(i) for source in step.depends_on)


def test_operations_work_together_in_a_fixed_order():
    steps = [
        ("it is noon", "irrelevant"),
        ("3 * 4 = 13", "harmful", [], "3 * 4 = 12"),
        ("12 it is", "useful"),
        ("12 again", "disputed", [2]),
    ]
    edit = edited(["correct", "delete", "cut"], *steps)
    assert edit.operations == ("cut", "delete", "correct") == edit.asked
    assert edit.text == "3 * 4 = 13\nWait, that is wrong.\n3 * 4 = 12\n12 it is\n#### 12"
    assert len(edit.why) == 3


def test_marks_of_thinking_are_no_steps():
    text = "<think>\nit is noon\n3 * 4 = 12\n</think>\n"
    rollout, agreed = chain(
        ("<think>\nit is noon", "irrelevant"),
        ("3 * 4 = 12", "useful"),
        ("</think>", "irrelevant"),
        answer="12",
    )
    assert rollout.text == text + "12"
    edit = edit_chain(rollout, agreed, ["delete"])
    assert edit.text == "<think>\n3 * 4 = 12\n</think>\n12"
    assert edit.text[edit.reasoning_end :] == "12"


def test_no_valid_review_is_a_refusal():
    rollout, agreed = chain(("a", "irrelevant"), ("b", "useful"))
    none = agreed.model_copy(update={"valid_reviews": 0, "failed_reviews": 2})
    edit = edit_chain(rollout, none, ["delete"])
    assert edit.refused == "no review that did not fail" and not edit.changed
    bare = Rollout(id="r", problem=PROBLEM, text="#### 12", reasoning_end=0)
    empty = Consensus(rollout_id="r", rule="majority", valid_reviews=1)
    assert edit_chain(bare, empty, ["delete"]).refused == "there is no reasoning to edit"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["delet"], "unknown operation 'delet' .did you mean 'delete'?"),
        ([], "no operation given"),
        (["replace", "correct"], "choose one"),
    ],
)
def test_wrong_operations_are_refused(asked, message):
    with pytest.raises(UserError, match=message):
        edited(asked, ("a", "useful"))


def test_a_consensus_of_something_else_is_refused():
    rollout, agreed = chain(("a", "useful"), ("b", "useful"))
    with pytest.raises(UserError, match="rollout r: the consensus is of rollout other"):
        edit_chain(rollout, agreed.model_copy(update={"rollout_id": "other"}), ["delete"])
    short = agreed.model_copy(update={"steps": agreed.steps[:1]})
    with pytest.raises(UserError, match="rollout r: the consensus does not cut its reasoning"):
        edit_chain(rollout, short, ["delete"])
    gap = agreed.model_copy(update={"steps": (agreed.steps[0], agreed.steps[0])})
    with pytest.raises(UserError, match="does not cut"):
        edit_chain(rollout, gap, ["delete"])


def test_records_must_hang_together():
    with pytest.raises(ValueError, match="reasoning_end 9"):
        Edit(rollout_id="r", asked=("cut",), text="ab", reasoning_end=9)
    with pytest.raises(ValueError, match="steps end at 0"):
        Edit(rollout_id="r", asked=("cut",), text="ab", reasoning_end=1)
    assert Problem(id="p", prompt="x").answers == ()
