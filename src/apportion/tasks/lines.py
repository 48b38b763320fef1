"""The written form of a solution: one step a line, then ``#### ANSWER``."""

from __future__ import annotations

import re

from apportion.trace import Step

ANSWER_MARK = "####"
_ANSWER_LINE = re.compile(r"^[ \t]*####", re.MULTILINE)
_END_OF_THINKING = "</think>"


def reasoning_end(text: str) -> int:
    """Offset where the reasoning stops.

    After ``</think>`` where the text has one; else at the start of the first line that begins
    with ``####``; else the end of the text.
    """
    thinking = text.rfind(_END_OF_THINKING)
    if thinking >= 0:
        return thinking + len(_END_OF_THINKING)
    match = _ANSWER_LINE.search(text)
    return match.start() if match else len(text)


def line_steps(text: str, end: int) -> tuple[Step, ...]:
    """Cut ``text[:end]`` after each line break; a blank line belongs to the step before it."""
    steps: list[Step] = []
    start = 0
    for match in re.finditer(r"[^\n]*\n|[^\n]+\Z", text[:end]):
        if match.group().strip():
            steps.append(Step(start if not steps else match.start(), match.end()))
        elif steps:
            steps[-1] = Step(steps[-1].start, match.end())
    return tuple(steps)


def join_lines(lines: list[str], answer: str) -> str:
    """The completion made of these step lines and this answer."""
    return "\n".join([*lines, f"{ANSWER_MARK} {answer}"])
