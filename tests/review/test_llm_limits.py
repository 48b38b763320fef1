"""Concurrency, pace, money, tokens, keys."""

from __future__ import annotations

import itertools
import json

import pytest

from apportion.errors import UserError
from apportion.review import load_reviewer
from tests.review.endpoint import Answer, all_useful, says, serving
from tests.review.helpers import CHAIN, ask, item, llm


def many(count: int):
    return [item(CHAIN.replace("22", str(1000 + i)), f"r{i}") for i in range(count)]


def slowly(request, number):
    answer = all_useful(request)
    answer.delay = 0.05
    return answer


@pytest.mark.parametrize("cap", [1, 4, 16])
def test_no_more_requests_than_allowed_are_open_at_once(cap: int):
    with serving(slowly) as server:
        reviews = ask(llm(server.url, max_concurrency=cap), *many(24))
    assert all(review.ok for review in reviews)
    assert len(server.requests) == 24
    assert server.at_once <= cap
    assert server.at_once >= min(cap, 3), "the allowance is used"


def test_the_panel_can_allow_fewer_than_the_reviewer():
    with serving(slowly) as server:
        ask(llm(server.url, max_concurrency=16), *many(12), max_concurrency=2)
    assert server.at_once <= 2


def test_requests_per_minute_are_spaced_evenly():
    with serving() as server:
        ask(llm(server.url, max_rpm=600), *many(8))
    gaps = [b - a for a, b in itertools.pairwise(sorted(server.times))]
    assert server.times[-1] - server.times[0] > 0.6
    assert min(gaps) > 0.05


def test_a_token_budget_stops_cleanly():
    with serving() as server:  # 120 tokens a call
        reviews = ask(llm(server.url, budget_tokens=300, max_concurrency=1), *many(10))
    assert [review.ok for review in reviews] == [True] * 3 + [False] * 7
    assert len(server.requests) == 3
    assert reviews[-1].error == "budget spent: 360 of 300 tokens"
    assert reviews[-1].usage.calls == 0


def test_a_money_budget_stops_and_prices_are_recorded():
    price = {"input": 1000.0, "output": 5000.0}  # $0.20 a call
    with serving() as server:
        reviewer = llm(server.url, price=price, budget_usd=0.5, max_concurrency=1)
        reviews = ask(reviewer, *many(6))
    assert [review.ok for review in reviews] == [True] * 3 + [False] * 3
    assert reviews[0].usage.usd == pytest.approx(0.2)
    assert reviews[-1].error == "budget spent: $0.6000 of $0.5"


def test_a_money_budget_needs_a_price():
    with pytest.raises(UserError, match=r"budget_usd needs to know what m costs"):
        llm("http://127.0.0.1:1/v1", budget_usd=1.0)


def test_tokens_that_the_server_does_not_report_are_estimated():
    def silent(request, number):
        return says(
            json.loads(all_useful(request).body)["choices"][0]["message"]["content"], usage=False
        )

    with serving(silent) as server:
        (review,) = ask(llm(server.url))
    assert review.ok
    assert review.usage.prompt_tokens > 500
    assert review.meta["usage_estimated"]


def test_the_key_comes_from_the_named_variable_and_goes_nowhere_else(monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-private")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-private")
    with serving() as server:
        (with_key,) = ask(llm(server.url, api_key_env="MY_KEY"))
        ask(llm(server.url))
    assert server.headers[0]["authorization"] == "Bearer sk-secret"
    assert "sk-other" not in str(server.headers)
    assert "private" not in str(server.headers)
    assert "sk-secret" not in with_key.model_dump_json()


def test_a_missing_key_is_a_user_error(monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(UserError, match=r"the environment variable MY_KEY .* is not set"):
        llm("http://127.0.0.1:1/v1", api_key_env="MY_KEY")


def test_critiques_have_their_own_seed_and_a_temperature():
    with serving() as server:
        reviews = ask(llm(server.url, critiques=3, seed=10, max_concurrency=1))
        ask(llm(server.url))
        ask(llm(server.url, temperature="server", seed=None))
    assert [review.critique for review in reviews] == [0, 1, 2]
    assert [request.get("seed") for request in server.requests] == [10, 11, 12, 0, None]
    assert [r.get("temperature") for r in server.requests] == [0.7, 0.7, 0.7, 0.0, None]


def test_other_fields_are_passed_on():
    with serving() as server:
        ask(llm(server.url, extra_body={"top_k": 5}, max_tokens_field="max_completion_tokens"))
    assert server.requests[0]["top_k"] == 5
    assert server.requests[0]["max_completion_tokens"] == 2048
    assert "max_tokens" not in server.requests[0]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"base_url": "localhost:80", "model": "m"}, "no http"),
        ({"base_url": "http://x:port/v1", "model": "m"}, "no http"),
        ({"base_url": "http://x/v1"}, "option 'model' is required"),
        ({"base_url": "http://x/v1", "modl": "m"}, "unknown option 'modl' .did you mean 'model'"),
        ({"base_url": "http://x/v1", "model": "m", "critiques": 0}, "critiques"),
        ({"base_url": "http://x/v1", "model": "m", "prompt": "step"}, "did you mean 'steps'"),
        (
            {"base_url": "http://x/v1", "model": "m", "prompt": "steps", "granularity": "free"},
            "prompt 'steps' is for granularity 'given', not 'free'",
        ),
    ],
)
def test_bad_options_are_one_line(spec, message):
    with pytest.raises(UserError, match=message) as caught:
        load_reviewer({"kind": "llm", **spec})
    assert "\n" not in str(caught.value)


def test_a_panel_timeout_does_not_count_the_wait_for_other_reviews():
    with serving(slowly) as server:
        reviews = ask(llm(server.url, max_concurrency=1), *many(8), timeout=0.4)
    assert all(review.ok for review in reviews)
    assert len(server.requests) == 8


def test_bursts_of_refusals_end_in_reviews_when_the_server_recovers():
    def grumpy(request, number):
        if number % 3 == 0:
            return Answer(429, b"{}", {"retry-after": "0.05"})
        return all_useful(request)

    with serving(grumpy) as server:
        reviews = ask(llm(server.url, retries=8, max_concurrency=4), *many(12))
    assert all(review.ok for review in reviews)
