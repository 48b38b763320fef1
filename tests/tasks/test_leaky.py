"""The leak is in the prompt, the shortcut ends in the right answer over wrong steps."""

from apportion.review import load_reviewer
from apportion.review.panel import Item, review_now
from apportion.segment import segment
from apportion.tasks import load_task, validate_task


def leaky(**options):
    return load_task({"kind": "leaky", "inner": {"kind": "sums"}, **options})


def test_rate_and_shortcut_are_kept_to() -> None:
    problems = leaky(rate=0.5, shortcut=0.5).problems("train", 400, 0)
    leaks = [p for p in problems if p.meta["leak"] is not None]
    assert 150 < len(leaks) < 250
    assert 70 < sum(p.meta["shortcut"] for p in leaks) < 130
    assert all(p.prompt.startswith(f"hint {p.answers[0]}\n") for p in leaks)
    assert not any(p.meta["shortcut"] or "hint" in p.prompt for p in problems if p not in leaks)


def test_without_a_leak_it_is_the_inner_task() -> None:
    inner = load_task("sums")
    for ours, theirs in zip(
        leaky(rate=0).problems("test", 5, 0), inner.problems("test", 5, 0), strict=True
    ):
        assert (ours.id, ours.prompt, ours.answers) == (theirs.id, theirs.prompt, theirs.answers)
    assert validate_task(leaky(rate=0.5), 20) == []


def test_the_shortcut_is_right_over_wrong_steps() -> None:
    task = leaky(rate=1.0, shortcut=1.0)
    for problem in task.problems("train", 20, 0):
        text = task.gold_completion(problem)
        assert task.score(problem, text) == 1.0
        end = task.reasoning_end(text)
        item = Item(problem, text, segment(text, end, "line"), 1.0, problem.id)
        [[review]] = review_now([load_reviewer("gold")], [item])
        assert sum(v.wrong for v in review.verdicts) >= len(review.verdicts) - 1


def test_a_task_without_steps_leaks_the_answer_alone() -> None:
    task = load_task(
        {"kind": "leaky", "inner": {"kind": "gym", "name": "gcd"}, "rate": 1, "shortcut": 1}
    )
    [problem] = task.problems("test", 1, 0)
    assert task.gold_completion(problem) == f"#### {problem.answers[0]}"


def test_a_leak_is_as_often_right_as_told() -> None:
    task = leaky(rate=1.0, shortcut=1.0, accuracy=0.7)
    problems = task.problems("train", 300, 0)
    right = [p.meta["leak"] == p.answers[0] for p in problems]
    assert 0.62 < sum(right) / len(right) < 0.78
    for problem, is_right in zip(problems[:40], right[:40], strict=True):
        assert task.score(problem, task.gold_completion(problem)) == float(is_right)
