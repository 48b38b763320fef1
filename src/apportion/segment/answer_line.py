"""Where the reasoning of text from elsewhere stops and its final answer starts.

A task knows its own answer format; this serves text whose task is unknown.
"""

from __future__ import annotations

import re

_END_OF_THINKING = "</think>"
_NUMBER = r"[-+]?[^\w\s]{0,2}\d(?:[\d,./:]*\d)?(?:\s*%|[ \t]+\w+)?"
# "#### 1. Set up" is a markdown heading, "#### 1" and "#### $1,200.50" are answers.
_HASHES_NUMBER = re.compile(rf"^[ \t]*####[ \t]*{_NUMBER}[ \t]*\.?[ \t]*$", re.MULTILINE)
_HASHES_LAST = re.compile(r"^[ \t]*####[^\n]*\s*\Z", re.MULTILINE)
_LABELLED_LAST = re.compile(
    r"^[ \t]*[*_]*(?:A|(?:the[ \t]+)?(?:final[ \t]+)?answer)[*_]*[ \t]*:[^\n]*\s*\Z",
    re.MULTILINE | re.IGNORECASE,
)
_BOXED = re.compile(r"(?:\$\$?|\\\(|\\\[)?\\boxed\{")


def find_reasoning_end(text: str) -> int:
    """Offset in ``text`` where the reasoning stops; ``len(text)`` where no answer is marked.

    In this order: after the last ``</think>``; the start of the first line ``#### number``, or of
    a last line ``#### anything``; of a last line ``A: anything`` or ``Answer: anything`` (GSM8K's
    published solutions end so); of the last ``\\boxed{`` with the mathematics sign before it.
    """
    thinking = text.rfind(_END_OF_THINKING)
    if thinking >= 0:
        return thinking + len(_END_OF_THINKING)
    for pattern in (_HASHES_NUMBER, _HASHES_LAST, _LABELLED_LAST):
        match = pattern.search(text)
        if match:
            return match.start()
    boxes = list(_BOXED.finditer(text))
    return boxes[-1].start() if boxes else len(text)


def labelled_answer(text: str) -> str | None:
    """What a last line ``A: x`` or ``Answer: x`` says; None where there is no such line."""
    match = _LABELLED_LAST.search(text)
    return (match.group().split(":", 1)[1].strip(" \t\n*_") or None) if match else None


def word_spans(text: str) -> tuple[tuple[int, int], ...]:
    """Half-open spans of the white-space delimited words: stand-ins for unknown tokens."""
    return tuple(match.span() for match in re.finditer(r"\S+", text))
