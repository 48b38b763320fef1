"""Text to atoms: numbers, operators, parentheses, equals signs, and what separates them.

Prose around an equation is where misreadings come from. An atom ``|`` separates (a clause ends or
prose stands between two numbers), an atom ``?`` marks what cannot be read (a variable, a clock
time, a word where a number has to be), so that whoever reads on abstains instead of guessing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from apportion.review.reading.numbers import (
    NUMBER_WORDS,
    PART_WORDS,
    TIMES_WORDS,
    Value,
    parse_literal,
    simple,
    words,
)


@dataclass(slots=True)
class Number:
    """One number of the text. ``units`` are the words that follow it, in lower case."""

    value: Value
    decimals: int
    start: int
    end: int
    percent: bool = False
    part: bool = False  # a half, 20 %, 3/4: what "of" may follow
    cut: bool = False  # "3.33...": digits were left out
    doubtful: bool = False  # could be two numbers ("2 1/2", "5 000")
    currency: bool = False
    units: tuple[str, ...] = ()


class Atom(NamedTuple):
    """``kind``: n number, o operator, ( ) parentheses, = ~ (about) : ("is"), | break, ? unread."""

    kind: str
    start: int
    end: int
    what: str = ""
    number: Number | None = None

    @property
    def is_of(self) -> bool:
        """The product that "of" stands for; no other sign for it has two characters."""
        return self.what == "*" and self.end - self.start == 2


class _Token(NamedTuple):
    kind: str
    start: int
    end: int
    text: str


_TOKEN = re.compile(
    r"""
  (?P<bullet>^[ \t]*(?:[-*•]|\(?\d{1,2}[.)])[ \t]+(?=\S))
| [ \t]*(?:
  (?P<multiplied>multiplied[ ]by\b) | (?P<divided>divided[ ]by\b)
| (?P<times>[xX](?=[ ]*[$£€]?[ ]*[\d(.])|[×·]|\\times\b|\\cdot\b)
| (?P<word>[^\W\d_]++(?:[-'’][^\W\d_]++)*+(?![\d_]))
| (?P<clock>\d+:\d[\d:]*|0\d{2,}|\d+,(?!\d{3}(?!\d))\d+)  # 3:30, 0730, comma for a point
| (?P<ordinal>\d+(?:st|nd|rd|th)\b)
| (?P<mixed>\d{1,4}(?:[ ]and)?[ ]\d{1,3}/\d{1,3}(?![\d.]))
| (?P<spaced>\d{1,3}(?:[ \u00a0\u2009\u202f]\d{3})+(?![\d,]))
| (?P<number>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:\.{3}|…)?(?:[ ]?\\?%|[ ]percent\b)?
     |\.\d+(?:[ ]?\\?%)?)
| (?P<unit>(?<=[\d%])-(?=[^\W\d_])|/(?=[^\W\d_]))  # 3-day, km/hour
| (?P<arrow>[<>!~]=|[-=]>|[→⇒√]|!(?=[ ]*[-+*/=^×÷]))
| (?P<bold>(?<![\d)])\*\*|\*\*(?![\d(]))
| (?P<power>\*\*|\^)
| (?P<op>[-+*−–])
| (?P<over>/|÷|\\div\b)
| (?P<paren>[()])
| (?P<equal>==?|≈|\\approx\b)
| (?P<latex>\\[dt]?frac\{\d{1,9}\}\{\d{1,9}\})
| (?P<layout>[{}_]|\\(?:left|right|text|mathrm|boxed|quad|[,;! ()\[\]]))
| (?P<command>\\[A-Za-z]+|[^\W\d_]+\d\w*)
| (?P<currency>\\?[$£€])
| (?P<stop>.|\n)
)
""",
    re.VERBOSE | re.MULTILINE,
)
# Words that may stand between an operator or an equals sign and its number.
_AFTER_OPERATOR = frozenset(words("the his her their its my our your those these another all that"))
_AFTER_EQUAL = _AFTER_OPERATOR | frozenset(
    words("about approximately roughly around only just exactly a total of up to equal")
)
_CONJUNCTIONS = frozenset(words("and so then if but or because while when whereas"))
_WORD_OPERATORS = {"plus": "+", "minus": "-", "times": "*"}
_EQUAL_WORDS = frozenset(("is", "are", "equals", "makes", "gives"))
_SPECIAL = (
    frozenset(_WORD_OPERATORS)
    | _EQUAL_WORDS
    | frozenset(PART_WORDS)
    | frozenset(TIMES_WORDS)
    | (frozenset(NUMBER_WORDS) - {"zero", "one"})
    | {"of"}
)
_DIGITS = re.compile(r"[\d,]*(?:\.\d+)?")
_NUMBERS = frozenset(("number", "spaced", "mixed", "latex"))
_OPERATORS = {"times": "*", "multiplied": "*", "over": "/", "divided": "/", "power": "^"}
_UNREADABLE = frozenset(("clock", "arrow", "ordinal", "command"))
_SKIPPED = frozenset(("unit", "bold", "layout"))
MAX_UNIT_WORDS = 3


def atoms_of(text: str, *spans: tuple[int, int]) -> list[Atom]:
    """The atoms of a text with offsets into it; of ``spans`` of it only, where some are given,
    with an equals sign between one and the next."""
    tokens: list[_Token] = []
    for start, end in spans or ((0, len(text)),):
        if tokens:
            tokens.append(_Token("equal", tokens[-1].end, tokens[-1].end, "="))
        tokens.extend(_tokens(text, start, end))
    return _Reader(tokens, text).read()


def _tokens(text: str, start: int, end: int) -> list[_Token]:
    tokens: list[_Token] = []
    for match in _TOKEN.finditer(text, start, end):
        kind = match.lastgroup
        if kind is not None and kind not in _SKIPPED:
            tokens.append(_Token(kind, *match.span(kind), match[kind]))
    return tokens


class _Reader:
    """Turns tokens into atoms, deciding what each run of words between them is."""

    def __init__(self, tokens: Sequence[_Token], text: str) -> None:
        self.tokens, self.text = tokens, text
        self.atoms: list[Atom] = []
        self.words: list[_Token] = []
        self.currency = False

    def read(self) -> list[Atom]:
        for index, token in enumerate(self.tokens):
            if token.kind == "word":
                lower = token.text.lower()
                if lower not in _SPECIAL or not self._special(index, lower):
                    self.words.append(token)
            elif token.kind == "currency":
                self.currency = True
            else:
                self._symbol(token)
        end = self.tokens[-1].end if self.tokens else 0
        self._emit(Atom("|", end, end))
        return self.atoms

    def _symbol(self, token: _Token) -> None:
        kind, start, end, text = token
        if kind in _NUMBERS:
            number = _number(kind, start, end, text)
            self._emit(Atom("n", start, end, "", number) if number else Atom("?", start, end))
        elif kind == "op":
            self._emit(Atom("o", start, end, "-" if text in "-−–" else text))
        elif kind in _OPERATORS:
            self._emit(Atom("o", start, end, _OPERATORS[kind]))
        elif kind == "paren":
            self._emit(Atom(text, start, end))
        elif kind == "equal":
            self._emit(Atom("=" if text[0] == "=" else "~", start, end))
        elif kind in _UNREADABLE:
            self._emit(Atom("?", start, end))
        else:
            self._emit(Atom("|", start, end))

    def _special(self, index: int, word: str) -> bool:
        """Emit the atoms of a word with a mathematical sense; False where it has none here."""
        _, start, end, _ = self.tokens[index]
        last = self.atoms[-1] if self.atoms and not self.words else None
        if word == "of":
            is_part = last is not None and last.number is not None and last.number.part
            if not (is_part or self._after_slash(last)) or not self._number_follows(index):
                return False
            self._emit(Atom("o", start, end, "*"))
        elif word in _WORD_OPERATORS:
            # "times" is also a noun: it needs a number on its left.
            operand = bool(self.atoms) and self.atoms[-1].kind in "n)"
            if not self._number_follows(index) or (word == "times" and not operand):
                return False
            self._emit(Atom("o", start, end, _WORD_OPERATORS[word]))
        elif word in _EQUAL_WORDS:
            if not self._number_follows(index, _AFTER_EQUAL):
                return False
            self._emit(Atom(":", start, end))
        elif word in TIMES_WORDS:
            if not self._number_follows(index):
                return False
            self._emit_number(TIMES_WORDS[word], start, end)
            self._emit(Atom("o", start, end, "*"))
        elif word in PART_WORDS:
            return self._part(index, word)
        else:
            return self._number_word(index, word, last)
        return True

    def _part(self, index: int, word: str) -> bool:
        """``half of 12``, ``two thirds of 9``, ``2 thirds of 9``."""
        _, start, end, _ = self.tokens[index]
        of = index + 1 < len(self.tokens) and self.tokens[index + 1].text.lower() == "of"
        if not of or not self._number_follows(index + 1):
            return False
        value: Value = PART_WORDS[word]
        if self.words and self.words[-1].text.lower() in ("one", *NUMBER_WORDS):
            before = self.words.pop()
            value, start = simple(value * NUMBER_WORDS[before.text.lower()]), before.start
        elif not self.words and self.atoms and self.atoms[-1].kind == "n":
            before = self.atoms.pop()
            assert before.number is not None
            value, start = simple(Fraction(value * before.number.value)), before.start
        self._emit_number(value, start, end, part=True)
        return True

    def _number_word(self, index: int, word: str, last: Atom | None) -> bool:
        """A number in words is an operand only right beside an operator or equals sign."""
        _, start, end, _ = self.tokens[index]
        after = self.tokens[index + 1] if index + 1 < len(self.tokens) else None
        beside = (last is not None and last.kind in "o=:~") or (
            after is not None
            and (
                after.kind == "op"
                or after.kind in _OPERATORS
                or after.text.lower() in _WORD_OPERATORS
            )
        )
        if beside:
            self._emit_number(NUMBER_WORDS[word], start, end)
        return beside

    def _after_slash(self, last: Atom | None) -> bool:
        return (
            last is not None
            and last.kind == "n"
            and self.atoms[-2:-1] != []
            and (self.atoms[-2].what == "/")
        )

    def _number_follows(self, index: int, skip: frozenset[str] = _AFTER_OPERATOR) -> bool:
        for token in self.tokens[index + 1 : index + 5]:
            if token.kind in _NUMBERS or token.text == "(":
                return True
            lower = token.text.lower()
            if token.kind == "word" and lower in _SPECIAL and lower not in ("of", *_EQUAL_WORDS):
                return lower not in _WORD_OPERATORS
            if token.kind != "currency" and token.text not in "-−" and lower not in skip:
                return False
        return False

    def _emit_number(self, value: Value, start: int, end: int, part: bool = False) -> None:
        self._emit(Atom("n", start, end, "", Number(value, 0, start, end, part=part)))

    def _emit(self, atom: Atom) -> None:
        if self.words:
            self._settle_words(atom)
        if atom.number is not None:
            atom.number.currency = self.currency
            if self.atoms and self.atoms[-1].kind == "n":
                # Two numbers with nothing between them belong to different clauses.
                self.atoms.append(Atom("|", atom.start, atom.start))
            elif self.atoms and self.atoms[-1].kind == ")":
                self.atoms.append(Atom("?", atom.start, atom.start))
        self.currency = False
        self.atoms.append(atom)

    def _settle_words(self, right: Atom) -> None:
        """Decide what the words between the last atom and ``right`` are, and forget them."""
        run = [token.text.lower() for token in self.words]
        attached = self.atoms != [] and self.words[0].start == self.atoms[-1].end
        start, end = self.words[0].start, self.words[-1].end
        self.words = []
        left = self.atoms[-1] if self.atoms else Atom("|", 0, 0)
        if left.kind in "n)":
            self._after_operand(left, run, right, start, end, attached)
        elif left.kind == "o":
            if right.kind == "n" and _AFTER_OPERATOR.issuperset(run):
                return
            if left.what == "-" and self.text[left.end : left.end + 1] == " ":
                self.atoms[-1] = Atom("|", left.start, left.end)  # a dash, not a minus
            else:
                self.atoms.append(Atom("?", start, end))
        elif left.kind in "=~:":
            if not (right.kind == "n" and _AFTER_EQUAL.issuperset(run)):
                self.atoms.append(Atom("|", start, end))
        elif right.kind == "o" and not self._unary(right):
            self.atoms.append(Atom("?", start, end))
        elif left.kind in "(?":
            self.atoms.append(Atom("|" if right.kind == "n" else "?", start, end))
        elif right.kind in "=~:":
            self.atoms.append(Atom("?", start, end))

    def _after_operand(
        self, left: Atom, run: list[str], right: Atom, start: int, end: int, attached: bool
    ) -> None:
        """Units, or prose that ends the clause."""
        factor = len(run[0]) == 1 and (attached or run[0] not in "ai")  # 2x, 2 x, 3A, not 2 a
        variable = factor or any(len(word) == 1 and word not in "ai" for word in run)
        prose = len(run) > MAX_UNIT_WORDS or not _CONJUNCTIONS.isdisjoint(run)
        if factor or (variable and right.kind not in "n(|"):
            self.atoms.append(Atom("?", start, end))
        elif right.kind in "n(":
            self.atoms.append(Atom("|", start, end))
        elif prose and right.kind == "o":
            spaced_dash = right.what == "-" and self.text[right.end : right.end + 1] == " "
            self.atoms.append(Atom("|" if spaced_dash else "?", start, end))
        elif prose and right.kind in "=~:":
            self.atoms.extend((Atom("|", start, start), Atom("?", start, end)))
        if left.number is not None and not variable:
            left.number.units = tuple(run[:MAX_UNIT_WORDS])

    def _unary(self, atom: Atom) -> bool:
        before, after = self.text[: atom.start][-1:], self.text[atom.end : atom.end + 1]
        return atom.what == "-" and after not in ("", " ") and not before.isalnum()


def _number(kind: str, start: int, end: int, text: str) -> Number | None:
    """None for a literal that is too long, a fraction over zero or a mixed number that is none."""
    if kind == "number":
        percent = text[-1] in "%t"
        digits = _DIGITS.match(text)
        assert digits is not None
        literal = parse_literal(digits.group())
        if literal is None:
            return None
        value, decimals = literal
        cut = "..." in text or "…" in text
        stop = start + digits.end()
        return Number(value, decimals, start, stop, percent, percent or 0 < value < 1, cut)
    if kind == "spaced":
        literal = parse_literal(re.sub(r"\s", "", text))
        return Number(literal[0], 0, start, end, doubtful=True) if literal else None
    figures = [int(figure) for figure in re.findall(r"\d+", text)]
    whole, top, bottom = figures if kind == "mixed" else (0, *figures)
    if bottom == 0:
        return None
    value = simple(whole + Fraction(top, bottom))
    return Number(value, 0, start, end, part=whole == 0, doubtful=kind == "mixed")
