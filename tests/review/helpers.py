"""Small chains to review."""

from __future__ import annotations

from typing import Any

from apportion.review import Item, load_reviewer, review_now
from apportion.review.cache import ReviewCache
from apportion.review.llm import LlmReviewer
from apportion.segment import segment
from apportion.trace import Problem, Review

PROMPT = "Tom buys 3 pens for 4 dollars each and 2 books for 5 dollars each. How much is it?\n"
CHAIN = "pens cost 3 * 4 = 12\nbooks cost 2 * 5 = 10\nin all 12 + 10 = 22\n#### 22"


def problem(prompt: str = PROMPT, **meta: Any) -> Problem:
    return Problem(id="p1", prompt=prompt, answers=("22",), meta=meta)


def item(text: str = CHAIN, rollout_id: str = "r1", how: str = "line", **meta: Any) -> Item:
    end = text.find("####")
    end = len(text) if end < 0 else end
    return Item(problem(**meta), text, segment(text, end, how), 1.0, rollout_id)


def llm(url: str, cache: ReviewCache | None = None, **options: Any) -> LlmReviewer:
    spec = {"kind": "llm", "base_url": url, "model": "m", "timeout": 5.0, "retries": 0} | options
    reviewer = load_reviewer(spec, cache=cache)
    assert isinstance(reviewer, LlmReviewer)
    return reviewer


def ask(reviewer: Any, *items: Item, **options: Any) -> list[Review]:
    """All reviews, item by item."""
    rows = review_now([reviewer], items or (item(),), **options)
    return [review for row in rows for review in row]
