"""Quotes in what two sides say to each other: made in one place, found in one place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from apportion.trace import Step

LONGEST_QUOTE = 160
_QUOTED = re.compile(r"“([^“”]+)”|\"([^\"]+)\"|`([^`]+)`")


class Quote(NamedTuple):
    """A quoted passage; ``start`` and ``end`` include its marks."""

    start: int
    end: int
    text: str


def quote(text: str) -> str:
    """The beginning of a text in quotation marks, without the blanks around it."""
    shown = re.split("[“”]", text.strip(), maxsplit=1)[0] or text.strip(" “”")
    return f"“{shown[:LONGEST_QUOTE].rstrip()}”"


def quotes_in(text: str) -> list[Quote]:
    """The quoted passages of a text, in order."""
    found = []
    for match in _QUOTED.finditer(text):
        content = next(group for group in match.groups() if group is not None).strip()
        if content:
            found.append(Quote(match.start(), match.end(), content))
    return found


def steps_quoted(quoted: str, text: str, steps: Sequence[Step]) -> tuple[int, ...]:
    """The steps that hold the quoted words, or are held by them; empty where they are nowhere.

    Of a passage that stands in several places, the first counts.
    """
    words = r"\s+".join(re.escape(word) for word in quoted.split())
    match = re.search(words, text) if words else None
    if match is None:
        return ()
    start, end = match.span()
    return tuple(i for i, step in enumerate(steps) if step.start < end and start < step.end)
