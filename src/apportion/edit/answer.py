"""The answer part of a completion: what it says, and what asks for it."""

from __future__ import annotations

import re

from apportion.segment.answer_line import labelled_answer
from apportion.tasks.answers import extract_answer
from apportion.tasks.numbers import parse_number, same_number
from apportion.trace import Rollout

_NUMBER = re.compile(r"(?<![\w.,])-?\d[\d,]*(?:\.\d+)?")
_RESULT = re.compile(r"=\s*[$€£]?\s*(-?\d[\d,]*(?:\.\d+)?)")
_LONGEST_CUE = 40


def stated(rollout: Rollout) -> str | None:
    """The final answer as the answer part states it; None where there is no such part."""
    part = rollout.text[rollout.reasoning_end :]
    if not part.strip():
        return None
    return labelled_answer(part) or extract_answer(part, last_number=True)


def cue(rollout: Rollout) -> str:
    """The beginning of the answer part up to the answer, such as ``####``: put after a reasoning
    it asks for the answer at once. Empty where the part is more than such a mark."""
    part = rollout.text[rollout.reasoning_end :]
    answer = stated(rollout)
    before = part.split(answer, 1)[0] if answer else ""
    is_mark = 0 < len(before) <= _LONGEST_CUE and not re.search(r"\d", before)
    # A token may hold the blank before a word, so no prefix ends with one.
    return before.rstrip(" \t") if is_mark else ""


def states(text: str, answer: str) -> bool:
    """Whether a step arrives at the answer: an equal number, after an equals sign where the step
    has one; for other answers the same words."""
    number = parse_number(answer)
    if number is None:
        return re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text, re.IGNORECASE) is not None
    found = _RESULT.findall(text) if "=" in text else _NUMBER.findall(text)
    written = (parse_number(literal.rstrip(",")) for literal in found)
    return any(same_number(number, other) for other in written if other is not None)
