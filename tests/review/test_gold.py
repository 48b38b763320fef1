"""The reviewer that knows the solution. Labelled by hand, then against planted errors."""

from __future__ import annotations

import time

import pytest

from apportion.review import load_reviewer
from apportion.review.check import measure_on_task
from apportion.review.gold import GoldReviewer, gold_steps, judge
from apportion.tasks import load_task
from tests.review.helpers import ask, item

STEPS = [
    {"text": "pens cost 3 * 4 = 12", "expression": "3 * 4", "result": 12, "uses": []},
    {"text": "books cost 2 * 5 = 10", "expression": "2 * 5", "result": 10, "uses": []},
    {"text": "in all 12 + 10 = 22", "expression": "12 + 10", "result": 22, "uses": [0, 1]},
    {"text": "bill less 22 - 2 = 20", "expression": "22 - 2", "result": 20, "uses": [2]},
]
USEFUL, IRRELEVANT, HARMFUL = ("useful", True), ("irrelevant", True), ("harmful", False)
MUTE = ("irrelevant", None)


def verdicts(text: str, steps=STEPS):
    one = item(text, steps=steps)
    return judge(gold_steps(one.problem), one.text, one.steps)


A, B, C, D = "a 3 * 4 = 12", "b 2 * 5 = 10", "c 12 + 10 = 22", "d 22 - 2 = 20"
FAULT_FIRST = [HARMFUL, USEFUL, USEFUL, USEFUL]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([A, B, C, D], [USEFUL] * 4),
        # Any order of independent steps, any order of operands of + and *.
        (["b 5 * 2 = 10", "a 4 * 3 = 12", "c 10 + 12 = 22", D], [USEFUL] * 4),
        (["d 2 - 22 = -20"], [HARMFUL]),
        # A wrong result is to blame, what computes rightly from it is not.
        (["a 3 * 4 = 13", B, "c 13 + 10 = 23", "d 23 - 2 = 21"], FAULT_FIRST),
        # Going on from the true value, as if nothing had happened, is right as well.
        (["a 3 * 4 = 13", B, C], [HARMFUL, USEFUL, USEFUL]),
        # Two wrong steps are both to blame.
        (["a 3 * 4 = 13", "b 2 * 5 = 11", "c 13 + 11 = 24"], [HARMFUL, HARMFUL, USEFUL]),
        ([A, B, "c 12 + 10 = 23", "d 23 - 2 = 22"], [USEFUL, USEFUL, HARMFUL, HARMFUL]),
        # A wrong operand, with and without steps that rest on it.
        (["a 3 * 5 = 15", B, "c 15 + 10 = 25", "d 25 - 2 = 23"], FAULT_FIRST),
        ([A, B, C, "d 22 - 3 = 19"], [USEFUL, USEFUL, USEFUL, HARMFUL]),
        # A true detour, of one step and of two; nothing rests on it.
        ([A, "bag 7 + 1 = 8", B, C], [USEFUL, IRRELEVANT, USEFUL, USEFUL]),
        ([A, "bag 7 + 1 = 8", "bag 8 * 2 = 16", B], [USEFUL, IRRELEVANT, IRRELEVANT, USEFUL]),
        # The same two steps, and their result is given as the answer.
        ([A, "bag 7 + 1 = 8", "bag 8 * 2 = 16"], [USEFUL, HARMFUL, HARMFUL]),
        # A false detour is harmful although nothing uses it.
        ([A, "bag 7 + 1 = 9", B], [USEFUL, HARMFUL, USEFUL]),
        # Said twice.
        ([A, "a 4 * 3 = 12", B], [USEFUL, IRRELEVANT, USEFUL]),
        # Steps merged into one expression.
        (["c 3 * 4 + 2 * 5 = 22", D], [USEFUL, USEFUL]),
        (["d 3 * 4 + 2 * 5 - 2 = 20"], [USEFUL]),
        (["d 3 * 4 + 2 * 5 - 2 = 21"], [HARMFUL]),
        (["c 3 * 4 + 2 * 6 = 24", "d 24 - 2 = 22"], [HARMFUL, USEFUL]),
        # A dropped step: its value is right, wherever it came from.
        ([A, C, D], [USEFUL] * 3),
        # What is no equation.
        ([A, "hm", "b 2 * = 10"], [USEFUL, MUTE, HARMFUL]),
        (["7 = 12"], [HARMFUL]),
    ],
)
def test_labels(lines, expected):
    result = lines[-1].split()[-1]
    found = verdicts("\n".join([*lines, f"#### {result}"]))
    assert [(v.label, v.correct) for v in found] == expected


def test_the_words_of_a_line_say_which_step_it_tries():
    # "in all" takes a wrong number and arrives at nothing that is used: an attempt, not a detour.
    found = verdicts("pens cost 3 * 4 = 12\nin all 12 + 5 = 17\nbill less 22 - 2 = 20\n#### 20")
    assert [v.label for v in found] == ["useful", "harmful", "useful"]


def test_the_focus_is_on_the_number_that_does_not_belong():
    text = "pens cost 3 * 4 = 12\nbooks cost 2 * 7 = 14\nin all 12 + 14 = 26\n#### 26"
    found = verdicts(text)
    assert found[1].focus is not None
    assert text[slice(*found[1].focus)] == "7"
    assert found[2].depends_on == (0, 1)
    wrong_result = verdicts(text.replace("3 * 4 = 12", "3 * 4 = 19"))
    assert wrong_result[0].focus is not None
    assert text[slice(*wrong_result[0].focus)] == "12"


def test_two_gold_steps_with_the_same_expression_are_claimed_one_each():
    steps = [
        {"text": "cups 3 * 4 = 12", "expression": "3 * 4", "result": 12, "uses": []},
        {"text": "hats 3 * 4 = 12", "expression": "3 * 4", "result": 12, "uses": []},
        {"text": "in all 12 + 12 = 24", "expression": "12 + 12", "result": 24, "uses": [0, 1]},
    ]
    lines = "cups 3 * 4 = 12\nhats 3 * 4 = 12\nin all 12 + 12 = 24\n#### 24"
    assert [v.label for v in verdicts(lines, steps)] == ["useful"] * 3
    once_more = lines.replace("#### 24", "hats 3 * 4 = 12\n#### 24")
    assert [v.label for v in verdicts(once_more, steps)] == ["useful"] * 3 + ["irrelevant"]


def test_a_problem_without_steps_is_a_failed_review():
    (review,) = ask(GoldReviewer())
    assert review.error == "problem p1 has no gold steps in meta['steps']"


@pytest.mark.parametrize(
    "steps",
    [
        [{"text": "a", "expression": "3 *", "result": 1, "uses": []}],
        [{"text": "a", "expression": "3 * 4", "result": 12, "uses": [0]}],
        [{"text": "a", "result": 1}],
        [3],
    ],
)
def test_malformed_gold_steps_are_a_failed_review(steps):
    (review,) = ask(GoldReviewer(), item(steps=steps))
    assert review.error is not None
    assert "gold" in review.error


@pytest.mark.parametrize("operations", [[1, 3], [4, 8]])
def test_it_is_exact_on_planted_errors(operations):
    report = measure_on_task(
        load_reviewer("gold"), load_task({"kind": "words", "operations": operations}), problems=80
    )
    assert report is not None
    assert report.tpr is not None
    assert report.tpr.n > 150
    assert report.tpr.value == 1.0
    assert report.fpr is not None
    assert report.fpr.value == 0.0
    assert report.agreement is not None
    assert report.agreement.value == 1.0


def test_its_focus_and_edges_are_those_of_the_planted_truth():
    task = load_task("words")
    for problem in task.problems("validation", 60, seed=1):
        for plant in task.corruptions(problem, seed=1):
            found = judge(gold_steps(problem), plant.text, plant.steps)
            for truth, verdict in zip(plant.truth, found, strict=True):
                if not truth.abstains:
                    assert verdict.focus == truth.focus
                if truth.label == "useful" and plant.kind in ("clean", "wrong_arithmetic"):
                    assert verdict.depends_on == truth.depends_on


def test_any_cut_of_the_text_can_be_judged():
    text = "pens cost 3 * 4 = 12\nbooks cost 2 * 5 = 11\nin all 12 + 11 = 23\n#### 23"
    (whole,) = ask(GoldReviewer(), item(text, how="whole", steps=STEPS))
    assert [v.label for v in whole.verdicts] == ["harmful"]
    assert whole.verdicts[0].focus is not None
    assert text[slice(*whole.verdicts[0].focus)] == "11"


def test_thousands_of_lines_take_linear_time():
    lines = [f"bag {i} + 1 = {i + 1}" for i in range(4000)]
    started = time.process_time()
    found = verdicts("\n".join([*lines, "#### 4000"]))
    assert len(found) == 4000
    assert time.process_time() - started < 5
