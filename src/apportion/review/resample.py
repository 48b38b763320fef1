"""A step against what the same policy writes in its place, over and over."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Literal

from apportion.review.reading import read_equations
from apportion.segment import segment
from apportion.segment.answer_line import find_reasoning_end
from apportion.trace import StepVerdict

Compare = Literal["value", "equation", "text"]

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def first_step(continuation: str, how: str) -> str:
    """The step that a continuation begins with; "" where the reasoning ends there."""
    end = find_reasoning_end(continuation)
    steps = segment(continuation, end, how)
    return steps[0].text(continuation) if steps else ""


def key_of(step: str, compare: Compare) -> Hashable:
    """What two steps are compared by; () for a step that says nothing.

    ``value``: the number that the step arrives at: of its last equation, else the last one it
    holds. ``equation``: also the numbers that it computes from, in any order. ``text``: the words,
    whatever the white space. The first two fall back on the words where there is no number.
    """
    words = tuple(step.split())
    if compare == "text" or not words:
        return words
    equations = [equation for equation in read_equations(step) if equation.stated is not None]
    if equations:
        return equations[-1].stated if compare == "value" else equations[-1].key
    numbers = _NUMBER.findall(step)
    return numbers[-1].replace(",", "") if numbers else words


def judge_by_resamples(step: str, resamples: Sequence[str], compare: Compare) -> StepVerdict:
    """The verdict on a step from the steps that were written in its place ("" where the reasoning
    ended instead).

    Correct where it says the same as more than half of them, else incorrect and harmful, with
    their share as confidence and the most common one as ``instead``; irrelevant where more than
    half end the reasoning. Abstains where nothing holds more than half (half and half is a tie).
    """
    if not resamples:
        return StepVerdict(reason="nothing could be resampled in its place")
    keys = [key_of(text, compare) for text in resamples]
    key, count = Counter(keys).most_common(1)[0]
    share = count / len(keys)
    of_all = f"{count} of {len(keys)} resamples"
    if 2 * count <= len(keys):
        return StepVerdict(reason=f"no majority: the most common step is that of {of_all}")
    if key == key_of(step, compare):
        return StepVerdict(correct=True, confidence=share, reason=f"{of_all} say the same")
    if key == ():
        return StepVerdict(
            label="irrelevant", confidence=share, reason=f"{of_all} end the reasoning here"
        )
    texts = Counter(t for t, k in zip(resamples, keys, strict=True) if k == key)
    instead = texts.most_common(1)[0][0].strip()
    return StepVerdict(
        label="harmful",
        correct=False,
        confidence=share,
        reason=f"{of_all} say otherwise, such as: {instead}",
        instead=instead,
    )
