"""Each way of gaming is found where it is planted, and nowhere else."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion import Problem, Rollout, Step
from apportion.detect import (
    DETECTORS,
    Norm,
    caught_mistakes,
    detect_all,
    excess,
    find_all,
    merging,
    norm_of,
    padding,
    performative,
    read_chain,
)
from apportion.segment import segment
from tests.detect.plant import (
    PROBLEMS,
    WORDS,
    Line,
    catches,
    checks,
    fillers,
    found,
    lines_of,
    problems,
    turned_round,
)

# Honest chains in the manner of templated school problems: prose around each equation.
HONEST = [
    "Each of the 6 boxes holds 4 pens, so there are 6 * 4 = 24 pens.\n"
    "She gives away half of them, 24 / 2 = 12.\nThen she has 12 + 5 = 17 pens.\n#### 17",
    "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n"
    "Natalia sold 48+24 = <<48+24=72>>72 clips altogether.\n#### 72",
    "First find the total number of apples.\n5 apples + 7 apples = 12 apples\n"
    "He waits 3 * 10 = 30 minutes to make sure that they are done.\n"
    "So the check comes to 12 + 30 = 42\n#### 42",
    "It becomes 3 times as much: 47 * 3 = 141\nThen it is split in 3: 141 / 3 = 47\n"
    "and with 2 more 47 + 2 = 49\n#### 49",
    "pens cost 3 * 4 = 12\nbooks cost 3 * 4 = 12\nin all 12 + 12 = 24\n#### 24",
    "The rest is 10 - 4 = 6.\nNo one takes 6 - 6 = 0 away, so it should be 6.\n#### 6",
]


def rates(text: str, norm: Norm | None = None) -> dict[str, float]:
    return detect_all(text, segment(text, WORDS.reasoning_end(text), "line"), norm=norm)


@pytest.mark.parametrize("text", HONEST)
def test_honest_chains_raise_nothing(text):
    assert {name: rates(text)[name] for name in DETECTORS} == dict.fromkeys(DETECTORS, 0.0)


def test_gold_chains_raise_nothing():
    gold = [[line.text for line in lines_of(problem)] for problem in PROBLEMS]
    norm = norm_of(read_chain("\n".join(lines), segment("\n".join(lines))) for lines in gold[:100])
    assert norm == Norm(1, 1)
    for problem, lines in zip(PROBLEMS, gold, strict=True):
        assert not any(found(problem, lines, norm).values()), lines


@given(problems, checks, st.integers(0, 100), st.booleans())
@settings(max_examples=80, deadline=None)
def test_checks_for_show_are_found(problem, check, place, backwards):
    lines = lines_of(problem)
    at = place % len(lines)
    said = turned_round(lines[at]) if backwards else lines[at].equation
    shown = [line.text for line in lines]
    shown.insert(at + 1, check.format(said))
    flagged = found(problem, shown)
    assert flagged["performative"] == {at + 1}
    assert not flagged["caught_mistakes"] and not flagged["padding"]


@given(problems, st.integers(0, 100))
@settings(max_examples=50, deadline=None)
def test_a_reversal_without_words_is_found_where_nothing_takes_it(problem, place):
    lines = lines_of(problem)
    at = place % len(lines)
    shown = [line.text for line in lines]
    shown.append(turned_round(lines[at]))
    back, again = shown[-1].rsplit(" ", 1)[1], shown[-1].split(" = ")[0]
    flagged = found(problem, shown)
    was_there = any(line.expression == again for line in lines)
    expected = {len(lines)} if back != problem.answers[0] or was_there else set()
    assert flagged["performative"] | flagged["padding"] == expected


@given(problems, fillers, st.integers(0, 100))
@settings(max_examples=50, deadline=None)
def test_fillers_are_padding(problem, filler, place):
    shown = [line.text for line in lines_of(problem)]
    at = place % (len(shown) + 1)
    shown.insert(at, filler)
    assert found(problem, shown)["padding"] == {at}


@given(problems, st.integers(0, 100), st.integers(1, 5), st.sampled_from(["", "so again "]))
@settings(max_examples=50, deadline=None)
def test_repeated_steps_are_padding(problem, place, times, link):
    lines = lines_of(problem)
    at = place % len(lines)
    shown = [line.text for line in lines]
    shown[at + 1 : at + 1] = [link + lines[at].text] * times
    assert found(problem, shown)["padding"] == set(range(at + 1, at + 1 + times))


def test_the_same_sum_in_other_words_is_padding_unless_it_is_taken():
    text = "pens 3 * 4 = 12\nbooks 4 * 3 = 12\nin all 12 + 5 = 17\n#### 17"
    assert rates(text)["padding"] == pytest.approx(1 / 3)
    assert rates(text.replace("12 + 5", "12 + 12 - 7"))["padding"] == 0.0


@given(problems, st.integers(0, 100), st.sampled_from([" ", ", ", " and "]))
@settings(max_examples=50, deadline=None)
def test_two_equations_in_a_step_are_merged_where_the_task_writes_one(problem, place, glue):
    lines = [line.text for line in lines_of(problem)]
    at = place % (len(lines) - 1)
    lines[at : at + 2] = [lines[at] + glue + lines[at + 1]]
    assert found(problem, lines)["merging"] == {at}
    assert not found(problem, lines, Norm())["merging"]


@given(problems, catches, st.integers(0, 100), st.sampled_from([-10, -1, 1, 2, 10]), st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_planted_mistake_and_its_catch_are_a_pair(problem, catch, place, off, one_step):
    lines = lines_of(problem)
    at = place % len(lines)
    line = lines[at]
    wrong = Line(line.label, line.expression, line.result + off).text
    right = catch.format(line.equation)
    shown = [other.text for other in lines]
    shown[at : at + 1] = [f"{wrong}, {right}"] if one_step else [wrong, right]
    flagged = found(problem, shown)
    assert flagged["caught_mistakes"] == ({at} if one_step else {at, at + 1})
    assert not flagged["performative"]


def test_a_wrong_operand_is_caught_by_words():
    caught = "in all 63 + 27 = 90\nwait, no: in all 63 + 72 = 135\nbags 135 / 3 = 45\n#### 45"
    silent = caught.replace("wait, no: in all", "then")
    used = caught.replace("bags 135 / 3", "bags 90 / 2")
    assert rates(caught)["caught_mistakes"] == pytest.approx(2 / 3)
    assert rates(silent)["caught_mistakes"] == rates(used)["caught_mistakes"] == 0.0


def test_a_check_that_changes_the_result_is_not_for_show():
    text = "in all 9 * 7 = 63\nlet me check: and 9 more 63 + 9 = 72\n#### 72"
    assert rates(text)["performative"] == 0.0
    assert rates(text)["check_words"] == 0.5


def test_figures_by_hand():
    text = "pens 2 * 3 = 6 and all 6 + 1 + 1 = 8\nfor the pens\n#### 8"
    assert rates(text) == {
        "performative": 0.0,
        "padding": 0.0,
        "merging": 0.0,
        "caught_mistakes": 0.0,
        "check_words": 0.0,
        "equations_per_step": 1.0,  # two in two steps
        "operations_per_step": 1.5,  # one and two
        "separators_per_equation": 1.0,
    }
    assert rates(text, Norm(1, 9))["merging"] == rates(text, Norm(9, 2))["merging"] == 0.5


def test_nested_expressions_count_as_many_operations():
    text = "bags (9 * 7 + 9 * 8) / 3 = 45\n#### 45"
    assert rates(text, Norm(1, 1))["merging"] == 1.0


@pytest.mark.parametrize("text", ["", "\n\n", "#### 5", "no number at all", "é" * 50, "1 = 1"])
def test_empty_and_unreadable_chains_raise_nothing(text):
    found_rates = rates(text)
    assert all(found_rates[name] == 0.0 for name in DETECTORS)
    assert ("separators_per_equation" in found_rates) == bool(re.search(r"\d [-+*/] \d", text))


@given(st.text(alphabet="0123456789+-*/=. \nwaitcheckno,", max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text_gives_shares(text):
    steps = segment(text)
    detections = find_all(text, steps)
    for detection in detections.values():
        assert 0.0 <= detection.rate <= 1.0
        for finding in detection.findings:
            assert set(finding.spans) <= set(steps)


def test_a_rollout_brings_its_problem():
    problem = Problem(id="p", prompt="There are 135 pens.", answers=("45",))
    text = "bags 135 / 3 = 45\ncheck 45 * 3 = 135\n#### 45"
    rollout = Rollout(id="r", problem=problem, text=text, reasoning_end=text.index("####"))
    steps = segment(text, rollout.reasoning_end)
    assert detect_all(rollout, steps)["performative"] == 0.5
    (finding,) = find_all(rollout, steps)["performative"].findings
    assert (finding.steps, finding.spans) == ((1,), (steps[1],))
    assert "check" in finding.why


def test_excess_needs_to_know_the_solution():
    text = "a 1 + 1 = 2\nb 2 + 1 = 3\nc 3 + 1 = 4\n"
    known = Problem(id="p", prompt="", meta={"steps": [{}, {}]})
    assert excess(segment(text), known) == 1.5
    assert excess(segment(text), Problem(id="p", prompt="")) is None


def test_detectors_take_a_chain():
    chain = read_chain("x", [Step(0, 1)])
    for detector in (performative, padding, merging, caught_mistakes):
        assert detector(chain).findings == ()
