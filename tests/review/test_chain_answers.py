"""What the chain itself answers, the quotes in it, and where its numbers come from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.review.chain_answers import answer_from_chain
from apportion.review.provenance import read_numbers, takers_of, users_of
from apportion.review.quoting import quote, quotes_in, steps_quoted
from apportion.segment import segment

PROBLEM = "Max takes 2 baskets of 5 shells each. He takes 2 bags of 4 stones each. How many?\n"
LINES = ["shells 2 * 5 = 10\n", "stones 2 * 4 = 8\n", "in all 10 + 8 = 18\n"]
CHAIN = "".join(LINES) + "#### 18"


def test_every_number_has_its_source():
    shells, stones, total = read_numbers(PROBLEM, LINES)
    assert [(t.value, t.source, t.sentences) for t in shells.taken] == [
        (2, None, ("Max takes 2 baskets of 5 shells each.", "He takes 2 bags of 4 stones each.")),
        (5, None, ("Max takes 2 baskets of 5 shells each.",)),
    ]
    assert [(t.value, t.source, t.ambiguous) for t in total.taken] == [
        (10, 0, False),
        (8, 1, False),
    ]
    assert LINES[2][total.taken[1].start : total.taken[1].end] == "8"
    numbers = (shells, stones, total)
    assert users_of(0, numbers) == (2,) and users_of(2, numbers) == ()
    assert takers_of(2, numbers) == (0, 1)


def test_of_several_places_the_one_is_meant_that_nothing_took_yet():
    # 4 is stated once and arrived at once: whoever takes it first takes the result, the next one
    # the statement, and the third has the result again.
    lines = ["so 9 - 5 = 4\n", "so 4 + 1 = 5\n", "so 4 + 2 = 6\n", "so 4 + 3 = 7\n"]
    numbers = read_numbers("9 - 5 and 4", lines)
    assert [step.taken[0].source for step in numbers] == [None, 0, None, 0]
    assert numbers[1].taken[0].ambiguous


def test_a_calculation_written_twice_counts_once():
    (step,) = read_numbers("3 pens for 4 dollars", ["it costs 3 * 4 = <<3*4=12>>12 dollars"])
    assert [t.value for t in step.taken] == [3, 4]


def test_a_step_says_what_it_computes_and_from_what():
    answer = answer_from_chain(PROBLEM, CHAIN, "“in all 10 + 8 = 18”: where from?")
    assert answer == (
        "“in all 10 + 8 = 18” computes 10 + 8 = 18. "
        "As to 10: it is what “shells 2 * 5 = 10” arrives at. "
        "As to 8: it is what “stones 2 * 4 = 8” arrives at. "
        "It arrives at the answer, 18."
    )
    answer = answer_from_chain(PROBLEM, CHAIN, "Why step 0, and what did you assume?")
    assert "As to 5: it is in the problem, “Max takes 2 baskets of 5 shells each.”." in answer
    assert "“stones 2 * 4 = 8” takes it too" in answer
    assert answer.endswith("“in all 10 + 8 = 18” takes 10 from it.")


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("Why?", "names none of its thoughts"),
        ("Where does 8 come from?", "“stones 2 * 4 = 8” arrives at 8."),
        ("You say 99?", "No thought arrives at 99. The last that arrives at a number is “in all"),
        ("What is “no such words” about, and 10?", "“shells 2 * 5 = 10” arrives at 10."),
        ("step 7?", "names none of its thoughts"),
    ],
)
def test_other_questions(question: str, says: str):
    assert says in answer_from_chain(PROBLEM, CHAIN, question)


def test_it_says_so_where_the_chain_does_not_say():
    chain = "I like it.\nso 7 + 6 = 13\nThat is 13.\n#### 13"
    assert "does not say what it is for" in answer_from_chain("5 + 6", chain, "“I like it.” why?")
    assert "As to 7: it needs no source" in answer_from_chain("5 + 6", chain, "step 1?")
    assert "It says again 13" in answer_from_chain("5 + 6", chain, "step 2?")
    odd = answer_from_chain("5 + 6", "so 77 + 6 = 83\n#### 83", "step 0?")
    assert "As to 77: the chain does not say where it comes from." in odd
    assert answer_from_chain("p", "", "why 3?") == "The chain does not say where 3 comes from."


@given(st.text(max_size=80), st.text(max_size=60), st.text(max_size=60))
def test_no_text_breaks_it(problem: str, chain: str, question: str):
    assert answer_from_chain(problem, chain, question)


@given(st.text(alphabet='ab “”"\n.1=+', max_size=60))
def test_what_is_quoted_is_found_again(text: str):
    steps = segment(text)
    for step in steps[:1]:
        words = step.text(text)
        found = [q.text for q in quotes_in(quote(words))]
        if words.strip(" “”\n") and found:
            assert 0 in steps_quoted(found[0], text, steps)


def test_quotes_and_their_places():
    assert [q.text for q in quotes_in('a “b c” and "d" and `e`')] == ["b c", "d", "e"]
    assert steps_quoted("stones  2 * 4", CHAIN, segment(CHAIN, len(CHAIN) - 7)) == (1,)
    assert steps_quoted("10\nstones", CHAIN, segment(CHAIN, len(CHAIN) - 7)) == (0, 1)
    assert steps_quoted("absent", CHAIN, segment(CHAIN)) == ()
    assert len(quote("x" * 500)) == 162
