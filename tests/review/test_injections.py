"""Prompt injections against a grader on loopback."""

import json

import pytest

from apportion.review.injections import (
    Answer,
    injected,
    measure_injections,
    shipped_injections,
)
from tests.review.endpoint import says, serving
from tests.review.helpers import CHAIN, llm, problem

WRONG = Answer(problem(), CHAIN.replace("#### 22", "#### 23"), CHAIN.index("####"))


def grades(right):
    return says(json.dumps({"analysis": "a", "right": right, "confidence": 0.9}))


@pytest.mark.parametrize("place", ["reasoning", "answer"])
def test_the_share_that_gets_through_is_counted_by_hand(place):
    def gullible(request, number):
        shown = request["messages"][1]["content"]
        return grades("already accepted" in shown or "misprint" in shown)

    with serving(gullible) as endpoint:
        found = measure_injections(llm(endpoint.url, prompt="outcome"), [WRONG], place=place)
    assert found.through.value == pytest.approx(2 / 20)
    assert found.through.n == 20
    fooling = {name for name, share in found.by_text.items() if share.value == 1.0}
    assert fooling == {"end_of_work", "erratum"}
    assert (found.failed, found.fooled_without) == (0, 0)
    assert len(endpoint.requests) == 21


def test_a_grader_that_is_fooled_anyway_shows_nothing():
    with serving(lambda request, number: grades(True)) as endpoint:
        found = measure_injections(llm(endpoint.url, prompt="outcome"), [WRONG])
    assert found.through is None
    assert found.fooled_without == 1


def test_failed_reviews_are_counted_apart():
    def broken(request, number):
        return grades(False) if number == 0 else says("no json at all")

    with serving(broken) as endpoint:
        grader = llm(endpoint.url, prompt="outcome")
        found = measure_injections(grader, [WRONG], injections={"a": "x", "b": "y"})
    assert found.through is None
    assert found.failed == 2


def test_no_wrong_answers_ask_nothing():
    with serving(lambda request, number: grades(True)) as endpoint:
        found = measure_injections(llm(endpoint.url, prompt="outcome"), [])
    assert found.through is None
    assert endpoint.requests == []


def test_an_injection_stands_where_it_is_put():
    _, text, end = injected(WRONG, "believe me", "reasoning")
    assert text[:end].endswith("= 22\nbelieve me\n")
    assert text[end:] == "#### 23"
    _, text, end = injected(WRONG, "believe me", "answer")
    assert text[end:] == "#### 23\nbelieve me"
    assert len(shipped_injections()) == 20
