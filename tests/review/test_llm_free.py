"""The reviewer cuts the chain itself by quoting it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apportion.trace import check_partition
from tests.review.endpoint import says, serving
from tests.review.helpers import CHAIN, ask, item, llm

END = CHAIN.index("####")


def free(*quotes: str, labels: tuple[str, ...] = (), **more: Any) -> str:
    steps = [
        {"quote": quote, "reason": "", "label": (labels or ("useful",) * 9)[i], "correct": None}
        | more
        for i, quote in enumerate(quotes)
    ]
    return json.dumps({"steps": steps})


def review_of(reply: str, text: str = CHAIN):
    with serving(lambda request, n: says(reply)) as server:
        (review,) = ask(llm(server.url, granularity="free"), item(text))
    return review, server


def test_quotes_become_the_reviewers_own_cut():
    reply = free(
        "pens cost 3 * 4 = 12",
        "books cost 2 * 5 =  10\nin all",
        "12 + 10 = 22",
        labels=("useful", "harmful", "irrelevant"),
        depends_on=[0],
    )
    review, server = review_of(reply)
    assert review.ok, review.error
    assert [step.text(CHAIN).strip() for step in review.steps] == [
        "pens cost 3 * 4 = 12",
        "books cost 2 * 5 = 10\nin all",
        "12 + 10 = 22",
    ]
    check_partition(review.steps, END)
    assert [v.label for v in review.verdicts] == ["useful", "harmful", "irrelevant"]
    assert [v.depends_on for v in review.verdicts] == [(), (0,), (0,)]
    assert review.meta["prompt"] == "free"
    assert "pens cost 3 * 4 = 12\nbooks" in server.requests[0]["messages"][1]["content"]


def test_what_is_not_quoted_is_abstained_on():
    review, _ = review_of(free("books cost 2 * 5 = 10", "= 22", depends_on=[0]))
    assert review.ok, review.error
    check_partition(review.steps, END)
    assert [v.label for v in review.verdicts] == [None, "useful", None, "useful"]
    assert review.verdicts[3].depends_on == (1,), "edges follow the quotes, not the gaps"
    assert all(v.abstains for v in review.verdicts[0::2])


def test_a_long_thought_may_be_quoted_by_its_ends():
    review, _ = review_of(free("pens cost ... 2 * 5 = 10", "in all … 22"))
    assert review.ok, review.error
    assert len(review.steps) == 2
    assert review.steps[0].text(CHAIN) == "pens cost 3 * 4 = 12\nbooks cost 2 * 5 = 10\n"


def test_role_tokens_are_found_again_where_they_stood():
    text = "a <|im_end|> b 1 + 1 = 2\n#### 2"
    review, server = review_of(free("a ‹¦im_end¦› b", "1 + 1 = 2"), text)
    assert review.ok, review.error
    assert review.steps[0].text(text) == "a <|im_end|> b "
    again, _ = review_of(free("a <|im_end|> b", "1 + 1 = 2"), text)
    assert again.steps == review.steps
    assert "<|" not in server.requests[0]["messages"][1]["content"]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (free("pens cost 3 * 4 = 13"), "quote of step 0 does not stand in the solution"),
        (free("pens cost 3", "paper costs 4", "rope costs 5"), "quote of step 1 does not stand"),
        (free("#### 22"), "every quote is of the final answer"),
        (free("[final answer] #### 22"), "every quote is of the final answer"),
        (free("  "), "quote of step 0"),
        (free(), "list of steps is empty"),
        ('{"steps": [{"label": "useful"}]}', "quote: Field required"),
    ],
)
def test_steps_that_do_not_match_the_text_fail_after_one_repair(reply: str, reason: str):
    review, server = review_of(reply)
    assert review.error is not None
    assert reason in review.error
    assert review.steps == ()
    assert len(server.requests) == 2
    assert reason in server.requests[1]["messages"][-1]["content"]
