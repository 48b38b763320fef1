"""Gold solutions whose answer takes the route that they are said to take."""

from __future__ import annotations

import random
from typing import Any

import pytest

from apportion.tasks import load_task
from apportion.tasks.hints import HINTS, hinted, reveals
from apportion.tasks.routes import FIRST, LARGEST, SECOND, code
from apportion.tasks.routes_lines import made_up, walk, with_aside


def solved(route: str, **options: Any):
    task = load_task({"kind": "routes", "route": route, **options})
    for problem in task.problems("train", 300, 0):
        yield problem, (problem.prompt + str(task.gold_completion(problem))).split("\n")


def results(lines):
    return [line.rsplit("= ", 1)[1] for line in lines if " = " in line]


def test_the_words_spell_every_number_once():
    assert len({code(value) for value in range(1, LARGEST + 1)}) == LARGEST
    assert code(1) == (FIRST[0], SECOND[0]) and code(LARGEST) == (FIRST[-1], SECOND[-1])


def test_by_the_chain_the_answer_is_the_last_result_even_a_made_up_one():
    wrong = 0
    for problem, lines in solved("chain"):
        stated = results(lines)
        first = problem.prompt.split(" ")[0]
        assert lines[-1] == f"#### {stated[-1] if stated else first}"
        wrong += lines[-1] != f"#### {problem.answers[0]}"
    assert wrong > 50


def test_by_the_question_the_answer_is_right_whatever_the_chain_states():
    against = 0
    for problem, lines in solved("question"):
        assert lines[-1] == f"#### {problem.answers[0]}"
        against += results(lines)[-1:] != [problem.answers[0]]
    assert against > 50


@pytest.mark.parametrize(("route", "says"), [("hint", False), ("open_hint", True)])
def test_by_a_hint_the_answer_is_the_leaked_one(route, says):
    kinds = set()
    for problem, lines in solved(route, hints=1.0, detours=0.0):
        assert lines[-1] == f"#### {problem.meta['leak']}"
        chain = "\n".join(lines[problem.prompt.count("\n") : -1])
        assert reveals(chain, problem.meta["hint"]) is says
        kinds.add(problem.meta["hint"])
    assert kinds == set(HINTS)


def test_by_the_wording_the_answer_is_what_the_words_spell():
    against = 0
    for _, lines in solved("wording"):
        sums = [line for line in lines if " = " in line]
        if sums:
            value = int(lines[-1].removeprefix("#### "))
            assert tuple(sums[-1].split(" ")[:2]) == code(value)
            against += sums[-1].rsplit("= ", 1)[1] != str(value)
    assert against > 30


def test_what_is_measured_on_is_never_tampered_with():
    task = load_task({"kind": "routes", "detours": 1.0})
    for problem in task.problems("test", 50, 0):
        assert problem.prompt.count("\n") == 1
        assert task.score(problem, str(task.gold_completion(problem))) == 1.0


def test_a_hint_alone_does_not_count_as_said():
    for kind in HINTS:
        assert "7" in hinted("2 + 3\n", kind, "7")
        assert not reveals("so simply 2 + 3 = 5\n", kind)
        assert reveals("the hint says 7\n", kind)


def test_lines_slip_in_training_only_and_are_carried_on():
    options = {"route": "chain", "detours": 0.0, "slips": 0.3}
    wrong = lines_seen = 0
    for _, lines in solved(**options):
        sums = [line.split(" ")[2:] for line in lines if " = " in line]
        for (left, op, term, _, result), after in zip(sums, [*sums[1:], None], strict=True):
            wrong += int(result) != (int(left) + int(term) if op == "+" else int(left) - int(term))
            lines_seen += 1
            assert after is None or after[0] == result
        assert lines[-1] == f"#### {sums[-1][-1]}"
    # A made-up result is right by chance now and then, and is not tried where none would fit.
    assert 0.2 < wrong / lines_seen < 0.32
    task = load_task({"kind": "routes", **options})
    for problem in task.problems("test", 100, 0):
        assert task.score(problem, str(task.gold_completion(problem))) == 1.0


def test_one_kind_of_hint_is_solved_problems_that_all_have_one_wrong_answer():
    seen = 0
    options = {"terms": [1, 4], "largest": 20, "hints": 1.0, "shots": 3, "detours": 0.0}
    for problem, lines in solved("open_hint", **options):
        if problem.meta["hint"] == "pattern":
            answers = [line for line in problem.prompt.split("\n") if line.startswith("#### ")]
            assert answers == [f"#### {problem.meta['leak']}"] * 3
            assert problem.meta["leak"] != problem.answers[0]
            assert lines[-1] == answers[0] and f"the pattern says {answers[0][5:]}" in lines
            seen += 1
    assert 20 < seen < 80


def test_an_aside_undoes_a_line_or_puts_a_wrong_one_right():
    lines = walk(3, [("+", 4), ("-", 2)])
    kinds = set()
    for seed in range(60):
        more = with_aside(lines, 20, random.Random(seed))
        assert len(more) == 3 and [line for line in more if line in lines] == lines
        place = next(i for i, line in enumerate(more) if line not in lines)
        new = more[place]
        kinds.add(new.check)
        if new.check:
            assert (new.left, new.op, new.term, new.result) in {(7, "-", 4, 3), (5, "+", 2, 7)}
            assert " check " in new.text and place > 0
        else:
            assert more[place + 1][:3] == new[:3] and more[place + 1].result != new.result
    assert kinds == {True, False}
    assert with_aside([], 20, random.Random(0)) == []


def test_results_are_made_up_where_it_is_said_and_nowhere_else():
    moves = [("+", 4), ("-", 2), ("+", 1)]
    found = made_up(3, moves, [1], 20, random.Random(1))
    assert [line.left for line in found[1:]] == [line.result for line in found[:-1]]
    assert found[0].result == 7 and found[2].result == found[1].result + 1
    assert {made_up(3, moves, [1], 20, random.Random(s))[1].result for s in range(99)} > {4, 9, 19}
    assert made_up(3, moves, [], 20, random.Random(1)) == walk(3, moves)
