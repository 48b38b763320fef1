"""Where one step ends and the next begins.

Each segmenter returns the offsets after which a new step starts. Separators (newlines, the
blanks after a full stop) belong to the step that they end, and a piece of pure white space joins
its neighbour, so that the steps cover the reasoning and each holds something to judge.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

from apportion.errors import UserError, nearest
from apportion.trace import Step

_SENTENCE_END = re.compile(r"(?<=[.!?。！？])[\"')\]]*\s+|\n+")
_PARAGRAPH_END = re.compile(r"\n[ \t]*\n\s*")
_EQUATION_END = re.compile(r"=\s*[-$€£]*\d[\d,]*(?:\.\d+)?(?:\s*%)?(?!\s*=)[^\S\n]*[.;,]?\s*")


def _ends(pattern: re.Pattern[str]) -> Callable[[str], list[int]]:
    return lambda text: [match.end() for match in pattern.finditer(text)]


def _line_ends(text: str) -> list[int]:
    return [match.end() for match in re.finditer(r"\n+", text)]


SEGMENTERS: dict[str, tuple[Callable[[str], list[int]], str]] = {
    "line": (_line_ends, "one step a line; blank lines belong to the step above"),
    "sentence": (_ends(_SENTENCE_END), "after . ! ? (also CJK) followed by white space, or a line"),
    "paragraph": (_ends(_PARAGRAPH_END), "after an empty line"),
    "equation": (_ends(_EQUATION_END), "after each result of an equation"),
    "whole": (lambda text: [], "the reasoning is one step"),
}


def segment(text: str, reasoning_end: int | None = None, how: str = "line") -> tuple[Step, ...]:
    """Cut ``text[:reasoning_end]`` into steps that partition it exactly.

    Empty or blank reasoning has no steps. Raises UserError for an unknown segmenter.
    """
    if how not in SEGMENTERS:
        raise UserError(f"unknown segmenter '{how}'{nearest(how, list(SEGMENTERS))}")
    end = len(text) if reasoning_end is None else reasoning_end
    reasoning = text[:end]
    if not reasoning.strip():
        return ()
    find_ends, _ = SEGMENTERS[how]
    edges = sorted({0, end, *(offset for offset in find_ends(reasoning) if offset < end)})
    return _merge_blank(reasoning, [Step(a, b) for a, b in pairwise(edges)])


def _merge_blank(text: str, pieces: list[Step]) -> tuple[Step, ...]:
    """Join pieces of pure white space to the step before, at the start to the step after."""
    steps: list[Step] = []
    pending = 0  # where a leading blank piece began
    for piece in pieces:
        if piece.text(text).strip():
            steps.append(Step(pending if not steps else piece.start, piece.end))
        elif steps:
            steps[-1] = Step(steps[-1].start, piece.end)
    return tuple(steps)
