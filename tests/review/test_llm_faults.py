"""The llm reviewer against a server that misbehaves: a failure is an error record, never a verdict
and never an exception, and what was spent is recorded."""

from __future__ import annotations

import json
import time

import pytest

from tests.review.endpoint import Answer, all_useful, judged, says, serving
from tests.review.helpers import CHAIN, ask, item, llm


def test_a_good_reply_becomes_verdicts_with_usage_and_settings():
    reply = judged({0: "useful", 1: "Harmful", 2: "irrelevant"}, depends_on=[0, 7], confidence=80)
    with serving(lambda request, n: says(f"Here you are:\n```json\n{reply}\n```")) as server:
        (review,) = ask(llm(server.url, seed=5))
    assert review.ok
    assert [v.label for v in review.verdicts] == ["useful", "harmful", "irrelevant"]
    assert [v.correct for v in review.verdicts] == [True, False, True]
    # An edge to itself, to a later step or to none is dropped; 80 means 80 %.
    assert [v.depends_on for v in review.verdicts] == [(), (0,), (0,)]
    assert review.verdicts[0].confidence == 0.8
    assert review.usage.calls == 1
    assert (review.usage.prompt_tokens, review.usage.completion_tokens) == (100, 20)
    assert review.usage.usd is None, "an unknown model is unpriced, not free"
    assert review.meta["model"] == "m"
    assert review.meta["temperature"] == 0.0
    assert review.meta["seed"] == 5
    assert review.meta["prompt"] == "steps"
    assert len(review.meta["prompt_hash"]) == 16
    assert server.requests[0]["seed"] == 5
    assert server.requests[0]["response_format"]["type"] == "json_schema"


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ('{"steps": [{"step": 0, "lab', "no complete JSON"),
        ("I think that all steps are fine.", "no complete JSON"),
        ("[" * 5000, "no complete JSON"),
        ("", "empty"),
        ('{"steps": []}', "no verdict on step 0, 1, 2"),
        (judged({0: "useful"}), "no verdict on step 1, 2"),
        (judged({1: "useful", 2: "useful", 3: "useful"}), "there is no step 3"),
        (judged({0: "great", 1: "useful", 2: "useful"}), "label"),
        (json.dumps({"verdicts": "all good"}), "steps"),
        ('{"steps": ' + "[" * 100_000, "no complete JSON"),
        ("x" * 300_000, "longer than"),
    ],
)
def test_an_unreadable_reply_gets_one_repair_turn_and_then_fails(broken: str, reason: str):
    with serving(lambda request, n: says(broken)) as server:
        (review,) = ask(llm(server.url))
    assert review.verdicts == ()
    assert review.error is not None
    assert reason in review.error
    assert len(server.requests) == 2, "one repair turn, not more"
    assert review.usage.calls == 2
    assert review.usage.prompt_tokens == 200, "usage counts though nothing could be read"


def test_the_repair_turn_shows_the_reply_and_what_was_wrong_with_it():
    def first_bad(request, number):
        return says(judged({0: "useful"})) if number == 0 else all_useful(request)

    with serving(first_bad) as server:
        (review,) = ask(llm(server.url))
    assert review.ok
    assert len(review.verdicts) == 3
    assert "no verdict on step 1, 2" in review.meta["repaired"]
    turns = server.requests[1]["messages"]
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "user"]
    assert turns[2]["content"] == judged({0: "useful"})
    assert "no verdict on step 1, 2" in turns[3]["content"]


def test_a_reply_cut_off_at_the_length_limit_is_asked_for_more_briefly():
    def cut(request, number):
        return says('{"steps": [', finish="length") if number == 0 else all_useful(request)

    with serving(cut) as server:
        (review,) = ask(llm(server.url))
    assert review.ok
    assert "cut off at the length limit" in server.requests[1]["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("status", "headers"),
    [(429, {"retry-after": "0.3"}), (429, {}), (500, {}), (503, {"retry-after-ms": "300"})],
)
def test_too_many_requests_and_server_errors_are_retried(status: int, headers: dict[str, str]):
    def once(request, number):
        return Answer(status, b"{}", headers) if number == 0 else all_useful(request)

    with serving(once) as server:
        (review,) = ask(llm(server.url, retries=2))
    assert review.ok
    assert len(server.requests) == 2
    assert review.usage.calls == 1
    waited = server.times[1] - server.times[0]
    assert 0.28 <= waited < 2.5


@pytest.mark.parametrize("status", [401, 404, 429, 500])
def test_an_endpoint_that_keeps_refusing_fails_the_review(status: int):
    body = json.dumps({"error": {"message": "no such luck"}}).encode()
    with serving(lambda request, n: Answer(status, body)) as server:
        (review,) = ask(llm(server.url))
    assert review.error is not None
    assert f"HTTP {status}" in review.error
    assert "no such luck" in review.error
    assert review.usage.calls == 1
    assert len(server.requests) == 1


def test_a_slow_endpoint_times_out():
    with serving(lambda request, n: says("{}", delay=2.0)) as server:
        started = time.monotonic()
        (review,) = ask(llm(server.url, timeout=0.3))
    assert review.error == "no reply within 0.3 s"
    assert time.monotonic() - started < 3.5


def test_an_endpoint_that_is_not_there_fails_the_review():
    with serving() as server:
        url = server.url
    (review,) = ask(llm(url))
    assert review.error is not None
    assert review.error.startswith(f"cannot reach {url}")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty body"),
        (b"   ", "empty body"),
        (b"<html>gateway</html>", "no chat completion"),
        (b'{"choices": []}', "no chat completion"),
        (b'{"choices": [{"message": {"content": [1]}}]}', "no chat completion"),
        (b'{"choices": [{"message": {"content": "{', "no chat completion"),
        (b'{"choices": [{"message": {"content": null, "refusal": "I will not"}}]}', "refused"),
    ],
)
def test_a_body_that_is_no_completion_fails_the_review(body: bytes, reason: str):
    with serving(lambda request, n: Answer(200, body)) as server:
        (review,) = ask(llm(server.url))
    assert review.error is not None
    assert reason in review.error
    assert review.usage.calls == 1


def test_a_reply_of_more_than_two_megabytes_is_not_read_to_its_end():
    with serving(lambda request, n: says("x" * 2_100_000)) as server:
        (review,) = ask(llm(server.url))
    assert review.error == "the reply is larger than 2000000 bytes"


def test_a_server_that_refuses_the_schema_is_asked_without_and_remembered():
    def no_schema(request, number):
        if "response_format" in request:
            return Answer(400, b'{"error": {"message": "response_format is not supported"}}')
        return all_useful(request)

    with serving(no_schema) as server:
        reviewer = llm(server.url, max_concurrency=1)
        reviews = ask(reviewer, item(), item(CHAIN.replace("12", "13"), "r2"))
    assert all(review.ok for review in reviews)
    assert ["response_format" in request for request in server.requests] == [True, False, False]
    assert not reviews[0].meta["structured"]


def test_a_400_for_another_reason_is_reported_and_the_schema_not_given_up():
    with serving(lambda request, n: Answer(400, b'{"error": {"message": "too long"}}')) as server:
        reviewer = llm(server.url, max_concurrency=1)
        reviews = ask(reviewer, item(), item(CHAIN.replace("12", "13"), "r2"))
    assert all(r.error is not None and "too long" in r.error for r in reviews)
    assert ["response_format" in request for request in server.requests] == [True, False] * 2


def test_nothing_to_review_makes_no_call():
    with serving() as server:
        (review,) = ask(llm(server.url), item("#### 22"))
    assert review.ok
    assert review.steps == ()
    assert server.requests == []
