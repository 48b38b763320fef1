"""The naive judge, and the judge of the whole answer."""

import pytest

from apportion import Problem, StepVerdict, UserError
from apportion.review import Item, load_reviewer, measure_on_task, require_trust, review_now
from apportion.review.llm_protocol import Unparseable, read_answer
from apportion.review.naive import NaiveReviewer, looks
from apportion.review.outcome_judge import whole_verdict
from apportion.segment import segment
from apportion.tasks import load_task
from tests.review.helpers import CHAIN, ask, item

SHOW = "pens 3 * 4 = 12\nwait, let me check 3 * 4 = 13\nokay\n" + "and so on " * 5 + "= 2\n#### 12"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("pens cost 3 * 4 = 12", ["has an equation"]),
        ("let me verify", ["speaks of checking"]),
        ("wait, 3 * 4 = 13", ["speaks of checking", "has an equation"]),
        ("one two three four five six seven eight nine", ["is long"]),
        ("x = y", []),
        ("", []),
    ],
)
def test_what_looks_like_reasoning(text, seen):
    assert looks(text, 9) == seen


def test_the_naive_judge_pays_for_looks_and_not_for_being_right():
    (review,) = ask(load_reviewer("naive"), item(SHOW))
    assert [v.label for v in review.verdicts] == ["irrelevant", "useful", "irrelevant", "useful"]
    assert not any(v.wrong for v in review.verdicts)
    assert "speaks of checking and has an equation" in review.verdicts[1].reason
    (harsh,) = ask(load_reviewer({"kind": "naive", "harsh": True, "points": 1}), item(SHOW))
    assert [v.label for v in harsh.verdicts] == ["useful", "useful", "harmful", "useful"]


@pytest.mark.parametrize("task", ["words", "sums"])
def test_the_naive_judge_is_refused_since_it_tells_nothing(task):
    report = measure_on_task(NaiveReviewer(), load_task(task), problems=20)
    assert report is not None and report.youden is not None
    assert report.youden.value == 0.0
    with pytest.raises(UserError, match="Youden J"):
        require_trust(report)
    require_trust(report, force=True)


def test_options_of_the_naive_judge_are_checked():
    with pytest.raises(UserError, match="points"):
        load_reviewer({"kind": "naive", "points": 4})


# -- the whole answer ------------------------------------------------------------------------------

RIGHT = StepVerdict(label="useful", correct=True, confidence=0.9)
IDLE = StepVerdict(label="irrelevant", confidence=0.6)
WRONG = StepVerdict(label="harmful", correct=False, reason="3 * 4 is 12", confidence=0.8)
SILENT = StepVerdict()


@pytest.mark.parametrize(
    ("verdicts", "label", "correct", "confidence"),
    [
        ([RIGHT, IDLE], "useful", True, 0.6),
        ([RIGHT, WRONG, IDLE], "harmful", False, 0.8),
        ([SILENT, RIGHT], "useful", True, 0.9),
        ([StepVerdict(correct=False)], "harmful", False, None),
        ([SILENT, SILENT], None, None, None),
        ([], None, None, None),
    ],
)
def test_one_verdict_is_made_of_many(verdicts, label, correct, confidence):
    whole = whole_verdict(verdicts)
    assert (whole.label, whole.correct, whole.confidence) == (label, correct, confidence)


def test_every_step_gets_the_verdict_on_the_answer():
    spec = {"kind": "outcome_judge", "inner": "arithmetic"}
    good, bad = item(), item(CHAIN.replace("= 10\n", "= 11\n"), "r2")
    first, second = ask(load_reviewer(spec), good, bad)
    assert [v.label for v in first.verdicts] == ["useful"] * 3
    assert [v.label for v in second.verdicts] == ["harmful"] * 3
    assert all("11" in v.reason for v in second.verdicts)
    assert {first.reviewer, second.reviewer} == {"outcome_judge"}


class Spy:
    name, critiques = "spy", 2

    def __init__(self):
        self.told = []
        self.closed = False

    async def review(self, problem, text, steps, outcome, *, rollout_id="", critique=0):
        from apportion import Review

        self.told.append(outcome)
        error = "down" if critique else None
        given = () if error else tuple(steps)
        return Review(
            rollout_id=rollout_id,
            reviewer=self.name,
            critique=critique,
            steps=given,
            verdicts=(WRONG,) * len(given),
            error=error,
        )

    async def aclose(self):
        self.closed = True


def test_the_judge_is_not_told_the_outcome_and_a_failure_stays_one():
    from apportion.review.outcome_judge import OutcomeJudge

    spy = Spy()
    (row,) = review_now([OutcomeJudge(spy)], [item()])
    assert spy.told == [None, None] and spy.closed
    assert [review.ok for review in row] == [True, False]
    assert row[1].error == "down" and not row[1].verdicts
    review_now([OutcomeJudge(spy, show_outcome=True)], [item()])
    assert spy.told[-1] == 1.0


def test_with_gold_verdicts_it_agrees_with_the_verifier():
    task, judge = load_task("words"), load_reviewer({"kind": "outcome_judge", "inner": "gold"})
    agreed = total = 0
    for problem in task.problems("validation", 20, 0):
        for planted in task.corruptions(problem, 0):
            if planted.kind in ("clean", "wrong_arithmetic", "wrong_operand"):
                outcome = task.score(problem, planted.text)
                steps = segment(planted.text, task.reasoning_end(planted.text))
                (review,) = ask(judge, Item(problem, planted.text, steps, outcome, "r"))
                total += 1
                agreed += (review.verdicts[0].correct is True) == (outcome == 1.0)
    assert total > 50
    assert agreed == total


def test_a_language_model_answers_for_the_whole():
    chain = item()
    reply = 'so {"analysis": "it is 22", "right": false, "confidence": 80}'
    reading = read_answer("whole", reply, chain.text, chain.steps)
    assert reading.steps == tuple(chain.steps)
    assert {(v.label, v.correct, v.confidence, v.reason) for v in reading.verdicts} == {
        ("harmful", False, 0.8, "it is 22")
    }
    with pytest.raises(Unparseable, match="right"):
        read_answer("whole", '{"analysis": "x"}', chain.text, chain.steps)


def test_the_prompt_for_the_whole_never_shows_the_outcome():
    from apportion.review.llm_prompt import load_prompt, render

    prompt = load_prompt("outcome")
    chain = item()
    problem = Problem(id="p", prompt="How much?", answers=("22",))
    messages = render(
        prompt,
        problem,
        chain.text,
        chain.steps,
        outcome=1.0,
        show_outcome=True,
        show_reference=False,
        critique=0,
    )
    assert prompt.answer == "whole"
    assert not any("was checked" in m["content"] for m in messages)
    assert "[2] in all" in messages[1]["content"]
