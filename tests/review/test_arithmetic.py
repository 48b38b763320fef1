"""The offline reviewer: labels, dependencies, focus. Labelled by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.review import load_reviewer
from apportion.review.arithmetic import ArithmeticReviewer, judge
from apportion.review.panel import Item, review_now
from apportion.segment import segment
from apportion.tasks import load_task
from tests.review.helpers import CHAIN, PROMPT, ask, item


def verdicts(text: str, prompt: str = PROMPT):
    one = item(text)
    return judge(prompt, one.text, one.steps)


def labels(text: str, prompt: str = PROMPT):
    return [(v.label, v.correct) for v in verdicts(text, prompt)]


USEFUL, IRRELEVANT = ("useful", True), ("irrelevant", True)
HARMFUL, OPEN, SILENT = ("harmful", False), (None, True), (None, None)


def test_a_right_chain_is_useful_and_linked():
    found = verdicts(CHAIN)
    assert [(v.label, v.correct) for v in found] == [USEFUL] * 3
    assert [v.depends_on for v in found] == [(), (), (0, 1)]
    assert all(v.confidence == 1.0 and v.focus is None for v in found)


def test_a_wrong_result_is_harmful_and_what_follows_from_it_is_not():
    text = "pens cost 3 * 4 = 13\nbooks cost 2 * 5 = 10\nin all 13 + 10 = 23\n#### 23"
    found = verdicts(text)
    assert [(v.label, v.correct) for v in found] == [HARMFUL, USEFUL, USEFUL]
    assert found[0].focus is not None
    assert text[slice(*found[0].focus)] == "13"
    assert "3 * 4 is 12, not 13" in found[0].reason
    assert found[2].depends_on == (0, 1)


def test_the_focus_counts_from_the_start_of_the_text():
    text = "so it begins\nbooks cost 2 * 5 = 11\n#### 11"
    found = verdicts(text)
    assert found[1].focus is not None
    assert text[slice(*found[1].focus)] == "11"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # A detour that nothing uses.
        ("a 3 * 4 = 12\nbag 7 + 1 = 8\nb 12 + 10 = 22\n#### 22", [USEFUL, IRRELEVANT, USEFUL]),
        # A repetition: the first one earns the credit.
        ("a 3 * 4 = 12\nagain 3 * 4 = 12\nb 12 + 10 = 22\n#### 22", [USEFUL, IRRELEVANT, USEFUL]),
        # Two different sums with the same result: either may be meant.
        ("a 3 * 4 = 12\nb 2 * 6 = 12\nc 12 + 12 = 24\n#### 24", [USEFUL, USEFUL, USEFUL]),
        ("a 3 * 4 = 12\nb 2 * 6 = 12\nc 12 + 10 = 22\n#### 22", [USEFUL, USEFUL, USEFUL]),
        # What follows the answer is of no use.
        ("a 3 * 4 = 12\nb 12 + 10 = 22\nc 22 - 4 = 18\n#### 22", [USEFUL, USEFUL, IRRELEVANT]),
        # Without a stated answer, the last equation is the aim.
        ("a 3 * 4 = 12\nb 2 * 5 = 10\nc 12 + 10 = 22", [USEFUL, USEFUL, USEFUL]),
        ("a 3 * 4 = 12\nb 2 * 5 = 10", [IRRELEVANT, USEFUL]),
        # No step arrives at the stated answer: what was of use cannot be seen.
        ("a 3 * 4 = 12\nb 2 * 5 = 10\n#### 22", [OPEN, OPEN]),
        ("a 3 * 4 = 12\nb 2 * 5 = 11\n#### 22", [OPEN, HARMFUL]),
        # The answer may be the rounded result.
        ("a 10 / 4 = 2.5\nb 2.5 * 3 = 7.5\n#### 8", [USEFUL, USEFUL]),
        # Prose and what cannot be read.
        ("Let us think.\na 3 * 4 = 12\n#### 12", [SILENT, USEFUL]),
        ("x + 3 = 5\na 3 * 4 = 12\n#### 12", [SILENT, USEFUL]),
        # One wrong equation among right ones makes the step wrong.
        ("3 * 4 = 12 and 2 * 5 = 11\n#### 22", [HARMFUL]),
        # Percentages are found again in either reading.
        ("a 10 / 50 = 20%\nb 0.2 * 60 = 12\n#### 12", [USEFUL, USEFUL]),
        ("a 10 / 50 = 0.2\nb 20% * 60 = 12\n#### 12", [USEFUL, USEFUL]),
        # A calculation mark repeats its line and is not a repetition of it.
        ("a 3*4=<<3*4=12>>12\nb 12+10=<<12+10=22>>22\n#### 22", [USEFUL, USEFUL]),
    ],
)
def test_labels(text, expected):
    assert labels(text) == expected


def test_an_answer_line_inside_the_reasoning_is_a_statement_of_what_was_found():
    text = "a 3 * 4 = 12\nA: 12"
    assert labels(text) == [USEFUL, USEFUL]
    assert verdicts(text)[1].depends_on == (0,)
    assert labels("a 3 * 4 = 12\nA: 13") == [OPEN, SILENT]


def test_a_number_from_nowhere_is_mentioned_but_not_blamed():
    found = verdicts("a 3 * 37 = 111\nb 111 + 60 = 171\n#### 171")
    assert [(v.label, v.correct) for v in found] == [USEFUL, USEFUL]
    assert "37 is from nowhere" in found[0].reason
    assert "nowhere" not in found[1].reason, "60 is a constant that a solution may bring along"


def test_numbers_in_words_are_known():
    prompt = "Anna gives away a third of her twenty-four eggs."
    assert "nowhere" not in verdicts("24 / 3 = 8\n#### 8", prompt)[0].reason
    assert "nowhere" in verdicts("23 / 3 = 7.67\n#### 7.67", prompt)[0].reason


def test_the_review_keeps_the_given_cut_and_costs_nothing():
    (review,) = ask(ArithmeticReviewer())
    assert review.steps == item().steps
    assert review.usage.calls == 0
    (nothing,) = ask(ArithmeticReviewer(), item("#### 22"))
    assert nothing.ok
    assert nothing.steps == ()


LINE = st.builds(
    "{} {} {} {} = {}".format,
    st.sampled_from(["pens cost", "in all", "so"]),
    st.integers(0, 30),
    st.sampled_from("+-*/x"),
    st.integers(0, 30),
    st.integers(-5, 99),
)


@given(st.lists(LINE | st.text(max_size=30), max_size=6), st.text(max_size=20))
def test_any_text_gets_one_consistent_verdict_per_step(lines: list[str], prompt: str):
    text = "\n".join(lines)
    steps = segment(text, len(text), "line")
    found = judge(prompt, text, steps)
    assert len(found) == len(steps)
    for index, (step, verdict) in enumerate(zip(steps, found, strict=True)):
        assert all(d < index for d in verdict.depends_on)
        assert (verdict.correct is False) == (verdict.label == "harmful")
        if verdict.focus is not None:
            assert step.start <= verdict.focus[0] < verdict.focus[1] <= step.end


@pytest.mark.parametrize("name", ["arithmetic", "gold"])
def test_a_wrong_sum_is_mended_in_the_proposal(name):
    problem = load_task("sums").problems("train", 1, 3)[0]
    first = problem.meta["steps"][0]
    wrong = first["text"].rsplit(" ", 1)[0] + f" {first['result'] + 10}"
    text = f"{wrong}\n#### 1"
    item = Item(problem, text, segment(text, len(wrong) + 1, "line"), 0.0, "r")
    [[review]] = review_now([load_reviewer(name)], [item])
    assert review.verdicts[0].label == "harmful"
    assert review.verdicts[0].instead == first["text"]
