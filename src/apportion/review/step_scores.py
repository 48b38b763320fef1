"""A reviewer as the judge of a search: one number for a chain, or for the beginning of one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

from apportion.review.base import Reviewer
from apportion.review.panel import Item, review_now
from apportion.segment import segment
from apportion.trace import Problem, Review, StepVerdict

Over = Literal["min", "product", "mean", "last"]


def judge(
    reviewer: Reviewer,
    *,
    over: Over = "min",
    segmenter: str = "line",
    reasoning_end: Callable[[str], int] = len,
) -> Callable[[Sequence[tuple[Problem, str]]], list[float | None]]:
    """Scores texts by the probability that their steps are not wrong: of the least of them, their
    product, their mean, or that of the last.

    A step's probability is the reviewer's confidence in its verdict, 1 or 0 where it states none,
    and 1/2 where it abstains. A text without steps scores 1/2. None where the review failed. The
    outcome is not shown. Source of min and product: Lightman et al. 2023 (arXiv 2305.20050),
    section 2.5 and appendix F.
    """

    def scores(texts: Sequence[tuple[Problem, str]]) -> list[float | None]:
        items = [
            Item(problem, text, segment(text, reasoning_end(text), segmenter), None, str(i))
            for i, (problem, text) in enumerate(texts)
        ]
        found = review_now([reviewer], items)
        return [_score(reviews, over) for reviews in found]

    return scores


def _score(reviews: Sequence[Review], over: Over) -> float | None:
    """The mean over the critiques that did not fail."""
    known = [_of_steps(review.verdicts, over) for review in reviews if review.ok]
    return sum(known) / len(known) if known else None


def _of_steps(verdicts: Sequence[StepVerdict], over: Over) -> float:
    sound = [probability_sound(verdict) for verdict in verdicts]
    if not sound:
        return 0.5
    if over == "last":
        return sound[-1]
    if over == "mean":
        return sum(sound) / len(sound)
    return min(sound) if over == "min" else math.prod(sound)


def probability_sound(verdict: StepVerdict) -> float:
    """P(the step is not wrong) as far as the verdict tells."""
    if verdict.abstains:
        return 0.5
    sure = 1.0 if verdict.confidence is None else verdict.confidence
    return 1 - sure if verdict.wrong else sure
