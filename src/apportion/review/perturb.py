"""Steps made wrong, and questions made others, by one number each: no model needed."""

from __future__ import annotations

import random
import re

from apportion.review.reading import read_equations, show
from apportion.tasks.stable import stable_hash

_NUMBER = re.compile(r"(?<![\w.,])-?\d+(?:,\d{3})*(?:\.\d+)?(?![\w,]*\d)")
_OFFSETS = (1, 2, 3, -1, -2, -3)


def perturbed(text: str, seed: int = 0) -> str | None:
    """The step with a small offset (1 to 3, up or down) on the number at which its last equation
    arrives, else on its last number; None where it holds none. A number that is not negative
    stays so. The same text and seed give the same result."""
    found = _result(text) or _last_number(text)
    return None if found is None else _offset(text, *found, seed)


def other_questions(prompt: str, limit: int, seed: int = 0) -> list[str]:
    """The prompt with one of its numbers changed, for each of its first ``limit`` numbers."""
    spans = [match.span() for match in _NUMBER.finditer(prompt)][:limit]
    changed = (_offset(prompt, start, end, seed) for start, end in spans)
    return [text for text in changed if text is not None]


def _result(text: str) -> tuple[int, int] | None:
    for equation in reversed(read_equations(text)):
        if equation.results:
            last = equation.results[-1]
            return last.start, last.end
    return None


def _last_number(text: str) -> tuple[int, int] | None:
    found = list(_NUMBER.finditer(text))
    return found[-1].span() if found else None


def _offset(text: str, start: int, end: int, seed: int) -> str | None:
    literal = _NUMBER.search(text[start:end])
    if literal is None:
        return None
    start, end = start + literal.start(), start + literal.end()
    written = text[start:end].replace(",", "")
    value = float(written) if "." in written else int(written)
    rng = random.Random(stable_hash(f"perturb {seed} {text} {start}"))
    offsets = [d for d in _OFFSETS if value < 0 or value + d >= 0]
    changed = value + rng.choice(offsets)
    shown = show(changed) if isinstance(changed, int) else f"{changed:.{_places(written)}f}"
    return text[:start] + shown + text[end:]


def _places(written: str) -> int:
    return len(written.split(".", 1)[1])
