"""Gold solutions whose answer takes the route that they are said to take."""

from __future__ import annotations

import pytest

from apportion.tasks import load_task
from apportion.tasks.hints import HINTS, hinted, reveals
from apportion.tasks.routes import FIRST, LARGEST, SECOND, code


def solved(route: str, **options):
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
