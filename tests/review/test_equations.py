"""Reading equations out of prose. Each row was labelled by hand."""

from __future__ import annotations

import string
import time
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from apportion.review.reading import agrees, numbers_in, read_equations, stated_answer

RIGHT = [
    "3 * 4 = 12",
    "3x4=12",
    "3 × 4 = 12",
    "$3*4 = $12",
    "<<3*4=12>>12",
    "2*1/2 = <<2*1/2=1.0>>1 bolt",
    "1/2 * 10 = 5",
    "20% of 50 = 10",
    "20 percent of 50 is 10",
    "50/200 = 25%",
    "50/200*100 = 25%",
    "100% - 20% = 80%",
    "half of 12 is 6",
    "half of the 12 eggs is 6",
    "a third of 12 is 4",
    "two thirds of 9 is 6",
    "2/3 of 9 is 6",
    "twice 6 is 12",
    "double the 6 is 12",
    "three plus four is seven",
    "3 times 4 equals 12",
    "12 divided by 4 is equal to 3",
    "2 * 6 = 12 = 24 / 2",
    "1,200 * 2 = 2,400",
    "$350 000 x 5/100 = $<<350000*5/100=17500.0>>17 500.",
    "10 / 3 = 3.33",
    "10 / 3 = 3.3",
    "20 / 3 = 6.66...",
    "10 / 3 ≈ 3.3",
    "1 / 8 = 0.13",
    "1 / 8 = 0.12",
    "0.1 + 0.2 = 0.30000000000000004",
    "(3 + 4) * 2 = 14",
    "2(3 + 4) = 14",
    "-3 + 5 = 2",
    "3 - 10 = -7",
    "2^3 = 8",
    "2**3 = 8",
    "12 = 3 * 4",
    "She sells (16 - 3 - 4 = 9) eggs",
    "so 3 * 4 = 12 (eggs)",
    "**3 * 4 = 12**",
    "- 3 * 4 = 12",
    "1. 3 * 4 = 12",
    r"\(3 \times 4 = 12\)",
    r"\frac{1}{2} \cdot 10 = 5",
    "total = 3 * 4 = 12",
    "3 pens * 4 dollars each = 12 dollars",
    "He runs 3 times a week so 3 * 5 = 15",
    "stamps times 16 * 9 = 144",
    "60 miles/hour * 2 hours = 120 miles",
    "3 + 4 = 7 * 2 = 14",
]
WRONG = {
    "3 × 4 = 13": "13",
    "<<3*4=13>>13": "13",
    "half of 12 is 7": "7",
    "10 / 3 = 3.34": "3.34",
    "20 / 3 = 6.66": "6.66",
    "7 / 2 = 3": "3",
    "1 / 4 = 0": "0",
    "12 = 3 * 5": "12",
    "2 * 6 = 12 = 25 / 2": "25 / 2",
    "3 * 4 = 12 = 13": "13",
    "20% of 50 = 12": "12",
    "3 + 4 * 2 = 14": "14",
    "25 - 50 = 25": "25",
    "195,000*.05 = $<<19500*.05=975.0>>975": "975",
    "130,000*.15 = $<<130000*.15=19500.0>>195,000": "195,000",
    "3 pens * 4 dollars = 13 dollars": "13",
    "17 - 2 = 16 (that is all)": "16",
}
UNDECIDED = [
    "60 minutes = 1 hour",
    "5 * 20 cents = $1",
    "3 pens + 2 books = 22",
    "8770 / 15 = 584 boxes",
    "20 + 10% = 22",
    "8 packs of 5 bags * $8/pack = $<<8*5*8=320>>320",
    "5 = 6",
    "for day 2 = 3 * 5",
]
UNREAD = [
    "x = 5",
    "2x + 3 = 13",
    "x + 3 * 4 = 15",
    "apples + 3 = 8",
    "3:30 - 2:00 = 1:30",
    "5! = 120",
    "1/0 = 5",
    "√16 = 4",
    "x >= 5 * 2",
    "12 + = 22",
    "3 * 4",
    "Tom is 5 years old",
    "2^100000 = 3",
    "1,5 + 1,5 = 3",
    "9" * 60 + " + 1 = 2",
]


@pytest.mark.parametrize("text", RIGHT)
def test_right_equations(text: str):
    found = read_equations(text)
    assert found
    assert [equation.right for equation in found] == [True] * len(found), found[0].why


@pytest.mark.parametrize("text", WRONG)
def test_wrong_equations_point_at_the_wrong_number(text: str):
    wrong = [equation for equation in read_equations(text) if equation.right is False]
    assert wrong
    for equation in wrong:  # a calculation and the prose around it may both be wrong
        assert equation.focus is not None
        assert text[slice(*equation.focus)] == WRONG[text]


@pytest.mark.parametrize("text", UNDECIDED)
def test_equations_that_may_be_meant_otherwise_are_not_judged(text: str):
    assert None in [equation.right for equation in read_equations(text)]
    assert False not in [equation.right for equation in read_equations(text)]


@pytest.mark.parametrize("text", UNREAD)
def test_what_cannot_be_read_is_left_alone(text: str):
    assert [e for e in read_equations(text) if e.right is not None] == []


def test_several_equations_in_one_line_are_told_apart():
    found = read_equations("Step 1: 3*4 = 12, then 12+5=17 eggs and 17 - 2 = 16")
    assert [equation.right for equation in found] == [True, True, False]
    assert [equation.stated for equation in found] == [12, 17, 16]


def test_operands_and_results_of_a_chain():
    (equation,) = read_equations("The cost is 3 * 4 = 12 = 24 / 2 dollars")
    assert [number.value for number in equation.operands] == [3, 4]
    assert equation.stated == 12


@pytest.mark.parametrize(
    ("exact", "given", "decimals", "expected"),
    [
        (Fraction(10, 3), Fraction(333, 100), 2, True),
        (Fraction(10, 3), 3, 0, True),
        (Fraction(7, 2), 4, 0, True),
        (Fraction(7, 2), 3, 0, False),
        (Fraction(-7, 2), -4, 0, True),
        (Fraction(1, 3), 0, 0, False),
        (12, 13, 0, False),
        (12, Fraction(121, 10), 1, False),
        (Fraction(1, 8), Fraction(12, 100), 2, True),
        (Fraction(1, 8), Fraction(14, 100), 2, False),
    ],
)
def test_rounding(exact, given, decimals, expected):
    assert agrees(exact, given, decimals) is expected


def test_numbers_of_a_problem():
    text = "Three friends pay 20% of $1,250.50, half a dozen times, twenty-five 3/4 hours, 5 000"
    expected = (3, Fraction(1, 5), 20, Fraction(2501, 2), Fraction(1, 2), 12, 25, Fraction(3, 4))
    assert {*expected, 3, 4, 5, 5000} <= numbers_in(text)
    assert numbers_in("no numbers here") == frozenset()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("so\n#### 1,234", 1234),
        ("#### -5", -5),
        ("#### 3/4", Fraction(3, 4)),
        ("A: $2.50", Fraction(5, 2)),
        ("**Answer:** 7", 7),
        ("The final answer is 12.", 12),
        (r"so \boxed{42}", 42),
        ("#### 1\n#### 2", 2),
        ("#### none", None),
        ("no answer", None),
        ("1 + 1 = 2", None),
    ],
)
def test_the_stated_answer(text, value):
    found = stated_answer(text)
    assert (found[0] if found else None) == value


NOISE = st.text(alphabet=string.digits + "+-*/=().,%$<>x:! \n" + "abé²½٣", max_size=60)


@given(NOISE | st.text(max_size=60))
@example("<<=>>=<<1=1>>")
@example("((((((((((((((((((((((((((((((((((((((((1+1=2")
@example("1/3+" * 60 + "1=2")
@example("٣ * ٤ = ١٢")
def test_reading_never_fails_and_offsets_stay_inside(text: str):
    for equation in read_equations(text):
        assert 0 <= equation.start <= equation.end <= len(text)
        if equation.right is False:
            assert equation.focus is not None
            start, end = equation.focus
            assert 0 <= start < end <= len(text)
            assert text[start:end].strip()
    numbers_in(text)
    stated_answer(text)


@given(
    st.integers(-999, 999),
    st.integers(0, 999),
    st.sampled_from("+-*"),
    st.integers(-3, 3),
    st.sampled_from(["", "so ", "He pays $", "(", "1. "]),
)
def test_random_sums_are_judged_exactly(a: int, b: int, op: str, off: int, before: str):
    value = {"+": a + b, "-": a - b, "*": a * b}[op] + off
    text = f"{before}{a} {op} {b} = {value}"
    (equation,) = read_equations(text)
    assert equation.right is (off == 0)


DEGENERATE = {
    "digits": "1" * 20_000,
    "open": "(" * 20_000 + "=1",
    "marks": "<<1=1>>" * 5000,
    "chain": "1 = " * 5000,
    "sum": "1+" * 9999 + "1=3",
    "prose": "of a half " * 9999 + "=3",
    "mixed": "1 1/2 " * 5000 + "= 3",
    "answers": "the answer is " * 5000,
    "commands": "\\" * 20_000,
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_what_a_degenerate_model_writes_takes_no_longer_than_its_length(name: str):
    started = time.process_time()
    read_equations(DEGENERATE[name])
    stated_answer(DEGENERATE[name])
    numbers_in(DEGENERATE[name])
    assert time.process_time() - started < 3
