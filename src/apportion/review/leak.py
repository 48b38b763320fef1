"""Whether a question gives the reference answer away."""

from __future__ import annotations

import re
from collections.abc import Sequence

from apportion.review.reading import numbers_in, stated_answer

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def gives_away(question: str, answers: Sequence[str], chain: str) -> bool:
    """Whether the question holds a reference answer that the chain does not hold itself, or says
    that a number is *the* answer where the chain has another one.

    A number counts however it is written (22, 22.00, twenty-two); other answers count word by
    word, in any case. This catches what is said outright: a hint that leads there ("twice as
    much") is not seen.
    """
    return any(_gives_away(question, answer.strip(), chain) for answer in answers if answer.strip())


def _gives_away(question: str, answer: str, chain: str) -> bool:
    if _NUMBER.fullmatch(answer.strip("$€£% ")):
        values = numbers_in(answer)
        if values & numbers_in(question) and not values & numbers_in(chain):
            return True
        named, own = stated_answer(question), stated_answer(chain)
        return named is not None and abs(named[0]) in values and (own is None or own[0] != named[0])
    words = re.compile(rf"(?<!\w){_spaced(answer)}(?!\w)", re.IGNORECASE)
    return bool(words.search(question)) and not words.search(chain)


def _spaced(text: str) -> str:
    return r"\s+".join(re.escape(word) for word in text.split())
