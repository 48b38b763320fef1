"""The teacher slips where it has a habit, as often as told, and computes rightly from it."""

from apportion.review import load_reviewer
from apportion.review.panel import Item, review_now
from apportion.segment import segment
from apportion.tasks import load_task, validate_task


def sloppy(**options):
    return load_task({"kind": "sloppy", "inner": {"kind": "sums", "operations": [4, 4]}, **options})


def test_without_habits_it_is_the_inner_teacher() -> None:
    inner = load_task({"kind": "sums", "operations": [4, 4]})
    for problem in inner.problems("train", 20, 0):
        assert sloppy(habits=0).gold_completion(problem) == inner.gold_completion(problem)
        assert sloppy(slip=0).gold_completion(problem) == inner.gold_completion(problem)
    assert validate_task(sloppy(), 20) == []


def test_slips_are_where_the_habits_are_and_nowhere_else() -> None:
    task = sloppy(habits=0.4, slip=0.7)
    gold = load_reviewer("gold")
    slips = chances = 0
    for problem in task.problems("train", 150, 0):
        text = task.gold_completion(problem)
        item = Item(problem, text, segment(text, task.reasoning_end(text), "line"), None, "r")
        [[review]] = review_now([gold], [item])
        for step, verdict in zip(problem.meta["steps"], review.verdicts, strict=True):
            _, op, right = step["expression"].split(" ")
            habit = task.habit(op, int(right))
            chances += habit != 0
            slips += verdict.wrong
            assert habit or not verdict.wrong
    assert 0.5 < slips / chances < 0.8


def test_habits_are_the_share_asked_for() -> None:
    task = sloppy(habits=0.25)
    held = [task.habit(op, n) != 0 for op in "+-*/" for n in range(100)]
    assert 0.19 < sum(held) / len(held) < 0.31


def test_the_answer_follows_from_the_slips_for_every_inner_task() -> None:
    inner = {"kind": "gym", "name": "leg_counting", "options": {"max_animals": 3}}
    task = load_task({"kind": "sloppy", "inner": inner, "habits": 0.5, "slip": 1.0})
    slipped = 0
    for problem in task.problems("train", 40, 0):
        lines = (task.gold_completion(problem) or "").splitlines()
        assert lines[-1].removeprefix("#### ") == lines[-2].split("= ")[1]
        slipped += lines[-1] != f"#### {problem.answers[0]}"
    assert slipped > 10
