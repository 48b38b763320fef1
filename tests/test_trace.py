import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from apportion import (
    SCHEMA_VERSION,
    Consensus,
    Credit,
    Problem,
    Review,
    Rollout,
    Step,
    StepConsensus,
    StepCredit,
    StepVerdict,
    Usage,
)

PROBLEM = Problem(id="p", prompt="2 + 2?", answers=("4",), meta={"steps": [1]})


def rollout(**changes):
    fields = {
        "id": "r",
        "problem": PROBLEM,
        "text": "2 + 2 = 4",
        "token_ids": (5, 6),
        "token_spans": ((0, 5), (5, 9)),
        "reasoning_end": 9,
    }
    return Rollout(**(fields | changes))


@pytest.mark.parametrize(
    "record",
    [
        PROBLEM,
        rollout(logprobs=(-0.5, -1.25), outcome=1.0, update=3),
        Review(
            rollout_id="r",
            reviewer="a",
            steps=(Step(0, 5), Step(5, 9)),
            verdicts=(StepVerdict(label="useful"), StepVerdict(correct=False, depends_on=(0,))),
            usage=Usage(calls=1, usd=0.1),
        ),
        Review(rollout_id="r", reviewer="a", error="timeout"),
        Consensus(
            rollout_id="r",
            rule="majority",
            steps=(
                StepConsensus(start=0, end=9, status="agreed", label="useful", votes={"a": None}),
            ),
        ),
        Credit(
            rollout_id="r",
            method="dca",
            values=(1.0,),
            advantages=(0.5,),
            steps=(StepCredit(start=0, end=9, value=0.5, why="x"),),
        ),
    ],
    ids=lambda record: type(record).__name__,
)
def test_records_survive_json_and_cannot_be_changed(record):
    again = type(record).model_validate_json(record.model_dump_json())
    assert again == record and again.schema_version == SCHEMA_VERSION
    with pytest.raises(ValidationError, match="frozen"):
        record.schema_version = 0


@given(st.text(max_size=50))
def test_any_text_survives_json(text):
    record = Problem(id="p", prompt=text)
    assert Problem.model_validate_json(record.model_dump_json()) == record


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"token_spans": ((0, 9),)}, "2 token_ids but 1 token_spans"),
        ({"logprobs": (0.0,)}, "1 logprobs for 2 tokens"),
        ({"reasoning_end": 10}, "outside the text of 9 characters"),
        ({"colour": "red"}, "Extra inputs"),
        ({"schema_version": SCHEMA_VERSION + 1}, "upgrade apportion"),
    ],
)
def test_inconsistent_rollouts_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        rollout(**changes)


def test_a_review_is_either_an_error_or_one_verdict_per_step():
    verdicts = (StepVerdict(label="useful"),)
    with pytest.raises(ValidationError, match="0 steps but 1 verdicts"):
        Review(rollout_id="r", reviewer="a", verdicts=verdicts)
    with pytest.raises(ValidationError, match="both an error and verdicts"):
        Review(rollout_id="r", reviewer="a", verdicts=verdicts, steps=(Step(0, 1),), error="x")


def test_steps_depend_on_earlier_steps_only():
    with pytest.raises(ValidationError, match=r"step 0 depends on \[0\]"):
        Review(
            rollout_id="r",
            reviewer="a",
            steps=(Step(0, 1),),
            verdicts=(StepVerdict(label="useful", depends_on=(0,)),),
        )


def test_wrong_and_abstaining_verdicts():
    assert StepVerdict(label="harmful").wrong and StepVerdict(correct=False).wrong
    assert not StepVerdict(label="irrelevant", correct=True).wrong
    assert StepVerdict().abstains and not StepVerdict(correct=True).abstains
