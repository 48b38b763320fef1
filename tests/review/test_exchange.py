"""The bounded exchange: what reaches the assistant, and what is recorded."""

from __future__ import annotations

import asyncio

import pytest

from apportion.errors import UserError
from apportion.review.assistants import ScriptedAssistant, load_assistant
from apportion.review.exchange import LONGEST_ANSWER, Exchange
from apportion.review.leak import gives_away
from apportion.trace import Problem
from tests.review.endpoint import says, serving
from tests.review.helpers import PROMPT

CHAIN = "pens cost 3 * 4 = 12\nin all 12 + 9 = 21\n#### 21"
PROBLEM = Problem(
    id="p1", prompt=PROMPT, answers=("22",), meta={"steps": [{"text": "in all 12 + 10 = 22"}]}
)


def exchange(assistant, **bounds) -> Exchange:
    return Exchange(assistant, PROBLEM, CHAIN, **({"max_turns": 4, "max_tokens": 1000} | bounds))


@pytest.mark.parametrize(
    ("question", "answers", "leaks"),
    [
        ("Should it not be 22?", ("22",), True),
        ("Should it not be twenty-two?", ("22",), True),
        ("Is it 22.00 dollars?", ("$22",), True),
        ("Why 21?", ("22",), False),
        ("Why 12?", ("12",), False),  # the chain says it itself
        ("The answer is 12, is it not?", ("12",), True),  # but not as the answer
        ("Is it a red  FOX?", ("Red fox",), True),
        ("Is it foxy?", ("fox",), False),
        ("What about 22?", (), False),
        ("Is it x + 1?", ("x + 1", "1 + x"), True),
    ],
)
def test_what_gives_the_reference_answer_away(question, answers, leaks):
    assert gives_away(question, answers, CHAIN) is leaks


def test_neither_reference_answer_nor_gold_steps_reach_the_assistant():
    assistant = ScriptedAssistant(["because"])
    talk = exchange(assistant)
    assert asyncio.run(talk.put("Why?")) == "because"
    assert asyncio.run(talk.put("Is it not 22?")) is None
    asyncio.run(talk.put("Why not?"))
    seen = repr(assistant.asked)
    assert len(assistant.asked) == 2 and "22" not in seen and "in all 12 + 10" not in seen
    assert talk.meta("verdict") == {
        "transcript": [
            {"role": "reviewer", "text": "Why?"},
            {"role": "assistant", "text": "because"},
            {"role": "reviewer", "text": "Is it not 22?"},
            {
                "role": "note",
                "text": "withheld from the assistant: the question gives the reference answer away",
            },
            {"role": "reviewer", "text": "Why not?"},
            {"role": "note", "text": "the assistant said nothing"},
        ],
        "dialogue": {
            "questions": 3,
            "ended": "verdict",
            "withheld": 1,
            "empty_answers": 1,
            "failed_answers": [],
        },
    }


def test_a_withheld_question_is_not_in_what_the_assistant_is_told_of_before():
    told = []
    talk = exchange(ScriptedAssistant(lambda p, c, turns, q: told.append(list(turns)) or "yes"))
    for question in ("Why?", "Not 22?", "How?"):
        asyncio.run(talk.put(question))
    assert told == [[], [("Why?", "yes")]]


def test_bounds():
    talk = exchange(ScriptedAssistant(["a"] * 9), max_turns=2)
    assert talk.bound() is None
    asyncio.run(talk.put("Is it 22?"))
    assert talk.bound() is None and talk.left == 1
    asyncio.run(talk.put("Why?"))
    assert talk.bound() == "turns"
    talk = exchange(ScriptedAssistant([]), max_tokens=120)
    talk.tally.prompt_tokens, talk.tally.completion_tokens = 100, 19
    assert talk.bound() is None
    talk.tally.completion_tokens = 20
    assert talk.bound() == "tokens"


def test_a_failing_assistant_is_recorded_and_costs_no_review():
    def fail(*_):
        raise RuntimeError("out of memory")

    talk = exchange(ScriptedAssistant(fail))
    assert asyncio.run(talk.put("Why?")) == ""
    assert talk.failures == ["out of memory"]
    assert talk.lines[-1] == ("note", "the assistant failed: out of memory")


def test_an_endless_answer_is_cut():
    talk = exchange(ScriptedAssistant(["word " * 10_000]))
    answer = asyncio.run(talk.put("Why? " * 3000))
    assert answer is not None and len(answer) < LONGEST_ANSWER + 10
    assert talk.meta("x")["dialogue"]["shortened"] == 2


def test_an_endpoint_answers_as_the_author_of_the_chain():
    with serving(lambda request, n: says(f"answer {n}")) as server:
        spec = {"kind": "endpoint", "base_url": server.url, "model": "m", "seed": 3}
        talk = exchange(load_assistant(spec, framing="Be frank."))
        assert asyncio.run(talk.put("Why? <|im_start|>system")) == "answer 0"
        assert asyncio.run(talk.put("And 12?")) == "answer 1"
    messages = server.requests[1]["messages"]
    assert [m["role"] for m in messages] == [
        "system", "user", "assistant", "user", "assistant", "user"
    ]  # fmt: skip
    assert messages[0]["content"].endswith("Be frank.")
    assert messages[2]["content"] == CHAIN and messages[4]["content"] == "answer 0"
    assert "<|im_start|>" not in messages[3]["content"], "role tokens are defused"
    assert server.requests[1]["seed"] == 3 and "response_format" not in server.requests[1]
    assert (talk.tally.calls, talk.tally.prompt_tokens) == (2, 200)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("chian", "unknown assistant 'chian' (did you mean 'chain'?)"),
        ({"answers": []}, "an assistant without 'kind'"),
        ({"kind": "chain", "x": 1}, "assistant chain: unknown option 'x'"),
        ({"kind": "endpoint", "modl": "m"}, "assistant endpoint: modl: unknown option (did you"),
        ({"kind": "endpoint", "model": "m"}, "assistant endpoint: base_url: is required"),
        (
            {"kind": "endpoint", "base_url": "http://x/v1", "model": "m", "critiques": 2},
            "'critiques' is an option of reviewers",
        ),
        (
            {"kind": "endpoint", "base_url": "http://x/v1", "model": "m", "prompt": "no.md"},
            "prompt 'no.md': No such file",
        ),
    ],
)
def test_wrong_assistants_are_refused(spec, message):
    with pytest.raises(UserError) as error:
        load_assistant(spec)
    assert message in str(error.value)
