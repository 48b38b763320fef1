"""Planted errors: the stated truth is recomputed here from the texts."""

import random
import re
from collections import Counter
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.segment import segment
from apportion.tasks import load_task
from apportion.tasks.arithmetic import arithmetic
from apportion.tasks.base import PLANTED_KINDS
from apportion.tasks.plant import wrong_value
from apportion.trace import check_partition

EQUATION = re.compile(r"(\d+ [-+*/] \d+) = (\d+)\n$")


def cases(seed, operations=(1, 8)):
    task = load_task({"kind": "words", "operations": list(operations)})
    problem = task.problems("test", 1, seed)[0]
    return task, problem, task.corruptions(problem, seed)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**9))
def test_truth_is_parallel_to_the_line_cut(seed):
    task, _, found = cases(seed)
    for planted in found:
        end = task.reasoning_end(planted.text)
        check_partition(planted.steps, end)
        assert planted.steps == segment(planted.text, end, "line")
        assert len(planted.truth) == len(planted.steps)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**9))
def test_the_marked_step_is_wrong_and_no_other(seed):
    task, problem, found = cases(seed)
    for planted in found:
        wrong = [i for i, verdict in enumerate(planted.truth) if verdict.correct is False]
        false = []
        for index, step in enumerate(planted.steps):
            match = EQUATION.search(step.text(planted.text))
            assert match is not None
            if arithmetic(match[1]) != int(match[2]):
                false.append(index)
        scored = task.score(problem, planted.text)
        if planted.kind in ("clean", "irrelevant_step", "dropped_step"):
            assert wrong == false == [] and scored == 1.0
        elif planted.kind == "lucky_answer":
            assert wrong == false and len(wrong) == 1 and scored == 1.0
        elif planted.kind == "wrong_arithmetic":
            assert wrong == false and len(wrong) == 1 and scored == 0.0
        else:
            assert false == [] and len(wrong) == 1 and scored == 0.0


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**9))
def test_focus_is_the_wrong_number_in_the_text(seed):
    _, _, found = cases(seed)
    for planted in found:
        for step, verdict in zip(planted.steps, planted.truth, strict=True):
            assert (verdict.focus is not None) == (verdict.label == "harmful")
            if verdict.focus is None:
                continue
            start, end = verdict.focus
            assert step.start <= start < end <= step.end
            line = step.text(planted.text)
            numbers = re.findall(r"\d+", line)
            position = numbers.index(planted.text[start:end])
            assert planted.kind == "wrong_operand" or position == 2 or len(set(numbers)) < 3


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**9))
def test_a_wrong_step_says_what_ought_to_stand_there(seed):
    _, _, found = cases(seed)
    clean = [step.text(found[0].text).rstrip() for step in found[0].steps]
    for planted in found:
        for index, verdict in enumerate(planted.truth):
            assert verdict.instead == (clean[index] if verdict.label == "harmful" else "")


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**9))
def test_depends_on_names_steps_whose_values_are_taken(seed):
    _, _, found = cases(seed)
    for planted in found:
        results = [EQUATION.search(s.text(planted.text))[2] for s in planted.steps]
        for step, verdict in zip(planted.steps, planted.truth, strict=True):
            operands = re.findall(r"\d+", step.text(planted.text).split(" = ")[0])
            assert all(results[used] in operands for used in verdict.depends_on)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**9))
def test_a_detour_is_used_by_nothing(seed):
    _, problem, found = cases(seed)
    planted = next((p for p in found if p.kind == "irrelevant_step"), None)
    if planted is None:
        return
    (index,) = [i for i, v in enumerate(planted.truth) if v.label == "irrelevant"]
    value = EQUATION.search(planted.steps[index].text(planted.text))[2]
    others = [s.text(planted.text) for i, s in enumerate(planted.steps) if i != index]
    assert all(value not in re.findall(r"\d+", line) for line in others)
    assert len(others) == problem.meta["operations"]


def test_a_dropped_step_leaves_its_users_undecided():
    _, problem, found = cases(11, (3, 5))
    planted = next(p for p in found if p.kind == "dropped_step")
    assert len(planted.steps) == problem.meta["operations"] - 1
    orphans = [v for v in planted.truth if v.abstains]
    assert orphans and all("derived" in v.reason for v in orphans)


def test_nearly_every_problem_has_room_for_every_kind():
    task = load_task({"kind": "words", "operations": [2, 6]})
    counts = Counter(
        planted.kind for p in task.problems("test", 150, 0) for planted in task.corruptions(p, 0)
    )
    assert set(counts) == set(PLANTED_KINDS)
    assert min(counts.values()) >= 0.9 * 150


def test_errors_are_deterministic_and_differ_by_seed():
    task = load_task("words")
    problem = task.problems("test", 1, 0)[0]
    assert task.corruptions(problem, 1) == task.corruptions(problem, 1)
    assert any(task.corruptions(problem, s) != task.corruptions(problem, 1) for s in (2, 3, 4))


def test_a_slip_keeps_a_positive_number_positive_and_finds_one_for_a_negative():
    rng = random.Random(0)
    for value in (1, 5, -3, -40, 0):
        for _ in range(20):
            wrong = wrong_value(Fraction(value), rng)
            assert wrong != value and (wrong > 0 or value < 0)
