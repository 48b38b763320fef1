"""Numbers as they are written, as exact values.

A value is an ``int`` where it is whole and a ``Fraction`` otherwise; the two compare and hash
alike, and whole numbers stay fast.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

Value = int | Fraction

# Longer literals are noise from a model, and int() of thousands of digits is slow.
MAX_DIGITS = 40


def words(text: str) -> list[str]:
    """Word lists are easier to read and to change as one text."""
    return text.split()


_UNITS = words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_TENS = words("twenty thirty forty fifty sixty seventy eighty ninety")

NUMBER_WORDS: dict[str, int] = {word: value for value, word in enumerate(_UNITS)}
NUMBER_WORDS |= {word: 10 * value for value, word in enumerate(_TENS, start=2)}
NUMBER_WORDS |= {
    f"{ten}-{unit}": NUMBER_WORDS[ten] + NUMBER_WORDS[unit]
    for ten in _TENS
    for unit in _UNITS[1:10]
}

PART_WORDS: dict[str, Fraction] = {
    "half": Fraction(1, 2),
    "halves": Fraction(1, 2),
    "third": Fraction(1, 3),
    "thirds": Fraction(1, 3),
    "quarter": Fraction(1, 4),
    "quarters": Fraction(1, 4),
    "fourth": Fraction(1, 4),
    "fourths": Fraction(1, 4),
    "fifth": Fraction(1, 5),
    "fifths": Fraction(1, 5),
    "sixth": Fraction(1, 6),
    "sixths": Fraction(1, 6),
    "eighth": Fraction(1, 8),
    "eighths": Fraction(1, 8),
    "tenth": Fraction(1, 10),
    "tenths": Fraction(1, 10),
}
TIMES_WORDS: dict[str, int] = {"twice": 2, "double": 2, "thrice": 3, "triple": 3, "quadruple": 4}
_AMOUNT_WORDS: dict[str, int] = TIMES_WORDS | {
    "hundred": 100,
    "thousand": 1000,
    "million": 1_000_000,
    "dozen": 12,
    "pair": 2,
    "couple": 2,
    "both": 2,
    "once": 1,
    "single": 1,
    "doubled": 2,
    "doubles": 2,
    "tripled": 3,
    "triples": 3,
    "half-dozen": 6,
}

_WRITTEN = re.compile(
    r"(?P<number>(?:\d{1,3}(?:[, ]\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
    r"(?P<percent>\s?(?:%|percent\b))?"
    r"|(?P<word>[A-Za-z]+(?:-[A-Za-z]+)*)"
)
_SLASHED = re.compile(r"(?:(\d{1,9})[ -])?(\d{1,9})\s?/\s?(\d{1,9})")


def simple(value: Fraction) -> Value:
    return value.numerator if value.denominator == 1 else value


def parse_literal(text: str) -> tuple[Value, int] | None:
    """(value, decimals shown) of ``1,234.50``; None where it has too many digits."""
    text = text.replace(",", "")
    if len(text) > MAX_DIGITS:
        return None
    whole, dot, fraction = text.partition(".")
    if not dot:
        return int(whole), 0
    return simple(Fraction(int(whole + fraction), 10 ** len(fraction))), len(fraction)


def agrees(exact: Value, given: Value, decimals: int) -> bool:
    """Whether ``given``, shown with this many decimals, is ``exact`` rounded to as many.

    A half may be rounded either way where decimals are shown, and away from zero to a whole
    number. What is not zero does not round to zero. Ten and more decimals are a float printed in
    full: they agree to a part in 10^9.
    """
    if exact == given:
        return True
    if given == 0 or (isinstance(exact, int) and decimals == 0):
        return False
    gap = abs(exact - given)
    if decimals >= 10:
        return gap * 10**9 <= abs(exact)
    double = 2 * gap * 10**decimals
    return double < 1 or (double == 1 and (decimals > 0 or abs(given) > abs(exact)))


def show(value: Value) -> str:
    """The value as a reader would write it, in six figures where it is not whole."""
    return str(value) if value.denominator == 1 else f"{float(value):.6g}"


@lru_cache(maxsize=4096)
def numbers_in(text: str) -> frozenset[Value]:
    """Every number that the text states, in figures or words; a percentage in both its readings,
    a slashed fraction both whole and in its two parts."""
    found: set[Value] = set()
    for match in _WRITTEN.finditer(text):
        word = match["word"]
        if word is not None:
            found.update(_of_word(word.lower()))
            continue
        # "5 100-pound sacks" holds 5 and 100, "$5 100" holds 5100: both readings are stated.
        for figures in {match["number"].replace(" ", ""), *match["number"].split()}:
            literal = parse_literal(figures)
            if literal is not None:
                found.add(literal[0])
                if match["percent"]:
                    found.add(simple(Fraction(literal[0]) / 100))
    for mixed, top, bottom in _SLASHED.findall(text):
        if int(bottom):
            part = Fraction(int(top), int(bottom))
            found.update((simple(part), simple(part + int(mixed or 0))))
    return frozenset(found)


def _of_word(word: str) -> Sequence[Value]:
    if word in _WORD_VALUES:
        return (_WORD_VALUES[word],)
    if "-" not in word:
        return ()
    return [_WORD_VALUES[part] for part in word.split("-") if part in _WORD_VALUES]


_WORD_VALUES: dict[str, Value] = {**NUMBER_WORDS, **PART_WORDS, **_AMOUNT_WORDS}
