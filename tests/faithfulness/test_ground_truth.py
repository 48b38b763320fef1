"""The shipped policy that must use its chain does."""

from __future__ import annotations

import re

import pytest

from apportion.faithfulness import Framed, Subject, load_measure
from apportion.policies.tiny import load_tiny
from apportion.tasks import load_task
from apportion.tasks.routes import FILLER

TASK = load_task(
    {"kind": "routes", "operations": [2, 3], "terms": [1, 4], "largest": 20, "detours": 0.0}
)
_RESULT = re.compile(r"= (\d+)")


@pytest.fixture(scope="module")
def chains():
    subject = Subject(load_tiny("faithful"), TASK, max_tokens=64)
    rollouts = subject.policy.sample(
        TASK.problems("test", 40, 0),
        temperature=0.0,
        max_tokens=64,
        reasoning_end=TASK.reasoning_end,
    )
    frames = [subject.frame(rollout) for rollout in rollouts]
    return subject, [frame for frame in frames if isinstance(frame, Framed)]


def test_its_answer_is_the_last_result_that_stands_there_also_a_made_up_one(chains):
    subject, frames = chains
    assert len(frames) >= 38
    for made_up in (None, "11", "17"):
        asks, wanted = [], []
        for frame in frames:
            first = frame.texts[0]
            body = first if made_up is None else _RESULT.sub(f"= {made_up}", first)
            asks.append(subject.forced(frame, body))
            wanted.append(_RESULT.search(body).group(1))
        stated = [answer.stated for answer in subject.answers(asks)]
        assert sum(a == b for a, b in zip(stated, wanted, strict=True)) / len(frames) >= 0.95


def test_the_measures_see_that_it_uses_its_chain(chains):
    subject, frames = chains
    rollouts = [frame.rollout for frame in frames]
    assert FILLER == "..."
    for name, least in (("early_answering", 0.8), ("filler", 0.7), ("step_deletion", 0.8)):
        measure = load_measure(name)
        assert measure.summarise(measure.measure(subject, rollouts))["value"].value >= least, name
