"""The final answer as a completion states it."""

from __future__ import annotations

import re
from fractions import Fraction

from apportion.review.reading.numbers import Value, parse_literal, simple

_STATEMENT = re.compile(
    r"^[ \t]*\#\#\#\#[ \t]*(?P<hash>[^\n]*)"
    r"|^[ \t]*[*_]*(?:A|(?:the[ \t]+)?(?:final[ \t]+)?answer)[*_]*[ \t]*:[ \t]*(?P<label>[^\n]*)"
    r"|\bthe[ \t]+(?:final[ \t]+)?answer[ \t]+is:?[ \t]*(?P<prose>[^\n]*)"
    r"|\\boxed\s*\{(?P<boxed>[^{}\n]*)\}",
    re.MULTILINE | re.IGNORECASE,
)
_NUMBER = re.compile(
    r"(?P<minus>[-−]?)\s*[$£€*]*\s*(?P<minus2>-?)"
    r"(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?|\.\d+)"
    r"(?:\s*/\s*(?P<below>\d+))?"
)


def stated_answer(text: str) -> tuple[Value, tuple[int, int]] | None:
    """The number after the last ``####``, ``A:``, ``the answer is`` or in the last ``\\boxed{}``,
    and its span; None where no answer is stated or it is not a number."""
    statements = list(_STATEMENT.finditer(text))
    if not statements:
        return None
    last = statements[-1]
    assert last.lastgroup is not None
    match = _NUMBER.search(text, last.start(last.lastgroup), last.end(last.lastgroup))
    literal = parse_literal(match["number"]) if match else None
    if match is None or literal is None:
        return None
    value: Value = literal[0]
    below = match["below"]
    if below is not None and len(below) < 20 and int(below):
        value = simple(Fraction(value) / int(below))
    return -value if match["minus"] or match["minus2"] else value, match.span()
