"""Where the reasoning of foreign text stops."""

import time

import pytest

from apportion.segment.answer_line import find_reasoning_end, labelled_answer, word_spans
from apportion.tasks.lines import reasoning_end as task_reasoning_end


@pytest.mark.parametrize(
    ("reasoning", "answer"),
    [
        ("3 * 4 = 12\n", "#### 12"),
        ("3 * 4 = 12\n", "#### 12\nthe model runs on: 12 + 1 = 13\n#### 13"),
        ("a\n", "#### $1,200.50\n"),
        ("a\n", "#### 22 dollars."),
        ("a\n", "#### yes"),
        ("#### 1. Set up\n3 * 4 = 12\n#### Result of it\nmore\n", "#### -12"),
        ("#### Heading\n3 * 4 = 12\n", ""),
        ("She pays <<3*4=12>>12\n", "A: 12"),
        ("She pays 12\n", "A: 12\n\n"),
        ("A: this line is no answer\nShe pays 12\n", "A: 12"),
        ("A: 12\nbut then more follows", ""),
        ("She pays 12.\n", "**Final Answer:** 12"),
        ("She pays 12.\n", "The answer: 12"),
        ("Answering: 12 and more", ""),
        ("So it is ", r"$\boxed{12}$."),
        (r"\boxed{1} was wrong, it is ", r"\boxed{\frac{1}{2}}"),
        ("<think>A: 3\n#### 4\n</think>", "#### 12"),
        ("no answer at all", ""),
        ("", ""),
    ],
)
def test_reasoning_stops_where_the_answer_starts(reasoning: str, answer: str) -> None:
    assert find_reasoning_end(reasoning + answer) == len(reasoning)


@pytest.mark.parametrize("answer", ["22", "-3", "1/2", "4.5", "7 dollars", "yes"])
def test_it_agrees_with_the_tasks_on_their_own_format(answer: str) -> None:
    text = f"pens cost 3 * 4 = 12\nin all 12 + 10 = 22\n#### {answer}"
    assert find_reasoning_end(text) == task_reasoning_end(text)


@pytest.mark.parametrize("piece", ["#### ", "\n", " ", "A:", "$", "1,", "#### 1,", "A: \n"])
def test_time_grows_with_the_text_and_not_its_square(piece: str) -> None:
    text = piece * (400_000 // len(piece)) + "x"
    start = time.perf_counter()
    find_reasoning_end(text)
    assert time.perf_counter() - start < 2


def test_words_are_spans_of_the_text() -> None:
    text = " 3 * 4\n= \U0001f600é "
    assert [text[a:b] for a, b in word_spans(text)] == ["3", "*", "4", "=", "\U0001f600é"]


@pytest.mark.parametrize(
    ("text", "answer"),
    [("x\nA: 12\n", "12"), ("x\n**Answer:** $3", "$3"), ("A:", None), ("A: 1\nx", None)],
)
def test_the_answer_of_a_labelled_last_line(text: str, answer: str | None) -> None:
    assert labelled_answer(text) == answer
