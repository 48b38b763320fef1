"""Values of expressions, by recursive descent over atoms. No ``eval``, exact arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from apportion.review.reading.lexer import Atom, Number
from apportion.review.reading.numbers import Value, simple

MAX_ATOMS = 200
MAX_DEPTH = 30
MAX_BITS = 2048
MAX_EXPONENT = 64
_PLAIN = frozenset("+-*/")


class Unreadable(Exception):
    """The atoms are no expression, or one that would not stay small."""


def evaluate(atoms: Sequence[Atom], *, percent_bare: bool = False) -> Value:
    """The exact value. ``percent_bare`` reads 20% as 20 where it is 1/5 otherwise.

    Raises:
        Unreadable: no expression, division by zero, or out of the size limits.
    """
    if len(atoms) == 3 and (operator := atoms[1].what) in _PLAIN:
        left, right = atoms[0].number, atoms[2].number
        if left is not None and right is not None:
            # Most expressions of most chains: spare them the descent.
            return apply(
                operator, number_value(left, percent_bare), number_value(right, percent_bare)
            )
    if len(atoms) > MAX_ATOMS:
        raise Unreadable("too long")
    parser = _Parser(atoms, percent_bare)
    value = parser.sum(0)
    if parser.position != len(atoms):
        raise Unreadable("text after the expression")
    return value


def number_value(number: Number, percent_bare: bool) -> Value:
    if number.percent and not percent_bare:
        return simple(Fraction(number.value) / 100)
    return number.value


def apply(operator: str, left: Value, right: Value) -> Value:
    """Raises Unreadable for division by zero and for results that are too large."""
    if operator == "+":
        value = left + right
    elif operator == "-":
        value = left - right
    elif operator == "*":
        value = left * right
    elif operator == "/":
        if right == 0:
            raise Unreadable("division by zero")
        if isinstance(left, int) and isinstance(right, int) and left % right == 0:
            return left // right
        value = Fraction(left) / right
    else:
        value = _power(left, right)
    if isinstance(value, Fraction):
        value = simple(value)
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise Unreadable("too large")
    return value


def _power(base: Value, exponent: Value) -> Value:
    if not isinstance(exponent, int) or abs(exponent) > MAX_EXPONENT:
        raise Unreadable("exponent")
    if base == 0 and exponent < 0:
        raise Unreadable("division by zero")
    return simple(Fraction(base) ** exponent)


class _Parser:
    def __init__(self, atoms: Sequence[Atom], percent_bare: bool) -> None:
        self.atoms, self.percent_bare, self.position = atoms, percent_bare, 0

    def _operator(self) -> str:
        if self.position == len(self.atoms):
            return ""
        atom = self.atoms[self.position]
        return atom.what if atom.kind == "o" else atom.kind

    def sum(self, depth: int) -> Value:
        if depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")
        value = self._product(depth)
        while (operator := self._operator()) in ("+", "-"):
            self.position += 1
            value = apply(operator, value, self._product(depth))
        return value

    def _product(self, depth: int) -> Value:
        value = self._signed(depth)
        while (operator := self._operator()) in ("*", "/", "("):
            if operator == "(":  # 2(3 + 4)
                operator = "*"
            else:
                self.position += 1
            value = apply(operator, value, self._signed(depth))
        return value

    def _signed(self, depth: int) -> Value:
        negative = False
        while self._operator() == "-":
            self.position += 1
            negative = not negative
        value = self._primary(depth)
        if self._operator() == "^":
            self.position += 1
            value = apply("^", value, self._signed(depth + 1))
        return -value if negative else value

    def _primary(self, depth: int) -> Value:
        if self.position == len(self.atoms):
            raise Unreadable("ends early")
        atom = self.atoms[self.position]
        self.position += 1
        if atom.number is not None:
            return number_value(atom.number, self.percent_bare)
        if atom.kind != "(":
            raise Unreadable(f"'{atom.kind}' where a number has to be")
        value = self.sum(depth + 1)
        if self.position == len(self.atoms) or self.atoms[self.position].kind != ")":
            raise Unreadable("parenthesis not closed")
        self.position += 1
        return value
