"""Numbers as people write them: signs, currency, thousands, decimals, fractions, percent, units."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_INTEGER = r"\d{1,3}(?:,\d{3})+|\d+"
_BODY = re.compile(
    rf"""
    (?P<sign>[-+]?)\s*[$€£]?\s*
    (?:
        (?:(?P<whole>{_INTEGER})(?:[ ]+|(?=\\)))?
        (?:(?P<top>{_INTEGER})\s*/\s*(?P<bottom>{_INTEGER})
          |\\[dt]?frac\{{(?P<latex_top>\d+)\}}\{{(?P<latex_bottom>\d+)\}})
      | (?P<integer>{_INTEGER})(?P<decimals>\.\d*)?
      | (?P<only_decimals>\.\d+)
    )
    \s*(?P<percent>%?)\.?
    (?P<unit>\s+[^\W\d_][^\d]*)?
    """,
    re.VERBOSE,
)
# Words that make of "3 dozen" or "3 or" something other than 3.
_NOT_UNITS = frozenset(
    {"dozen", "hundred", "thousand", "million", "billion", "trillion", "k", "m", "pi", "e", "i"}
    | {"or", "to", "and", "times", "over", "plus", "minus", "squared", "cubed", "percent"}
    | {"half", "halves", "third", "thirds", "quarter", "quarters"}
)
_LATEX_NOISE = (
    ("−", "-"),
    ("\\$", "$"),
    ("\\%", "%"),
    ("\\!", ""),
    ("\\,", ""),
    ("{,}", ","),
    ("\u00a0", " "),
)


@dataclass(frozen=True)
class Number:
    """An exact value; ``percent`` tells that a percent sign followed it."""

    value: Fraction
    percent: bool = False


def parse_number(text: str) -> Number | None:
    """Read a whole text as one number, or None where it is anything else.

    A unit after a blank is passed over ("22 dollars"); a word that changes the number is not
    ("3 dozen", "3 or more").
    """
    match = _BODY.fullmatch(_plain(text))
    if match is None:
        return None
    unit = (match["unit"] or "").lower().split()
    if any(word.strip(".,") in _NOT_UNITS for word in unit) or any("=" in w for w in unit):
        return None
    value = _value(match)
    if value is None:
        return None
    return Number(-value if match["sign"] == "-" else value, bool(match["percent"]))


def _plain(text: str) -> str:
    for old, new in _LATEX_NOISE:
        text = text.replace(old, new)
    text = re.sub(r"\\text\{([^{}]*)\}", r" \1", text).strip().strip("*").strip()
    if len(text) > 2 and text[0] == text[-1] == "$":
        text = text[1:-1].strip()
    return re.sub(r"^([$€£])\s*([-+])", r"\2\1", text)


def _integer(text: str) -> int:
    return int(text.replace(",", ""))


def _value(match: re.Match[str]) -> Fraction | None:
    top = match["top"] or match["latex_top"]
    if top is not None:
        bottom = _integer(match["bottom"] or match["latex_bottom"])
        if bottom == 0:
            return None
        whole = _integer(match["whole"]) if match["whole"] else 0
        return whole + Fraction(_integer(top), bottom)
    decimals = match["only_decimals"] or match["decimals"] or ""
    whole = _integer(match["integer"]) if match["integer"] else 0
    digits = decimals[1:]
    return whole + (Fraction(int(digits), 10 ** len(digits)) if digits else Fraction(0))


def same_number(gold: Number, answer: Number) -> bool:
    """Exact equality.

    Where only one has a percent sign, the sign may be a unit (50 and 50%) or a hundredth
    (0.5 and 50%): both readings count.
    """
    if gold.percent == answer.percent:
        return gold.value == answer.value
    signed, bare = (gold, answer) if gold.percent else (answer, gold)
    return bare.value in (signed.value, signed.value / 100)
