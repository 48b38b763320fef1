"""Exact value of a written expression."""

from __future__ import annotations

import re
from fractions import Fraction

_SAFE = re.compile(r"[\d.+\-*/() ]+")


def arithmetic(expression: str) -> Fraction | None:
    """Exact value of + - * / and brackets over decimals; None where it is anything else."""
    if _SAFE.fullmatch(expression) is None:
        return None
    tokens = re.findall(r"\d+\.?\d*|\.\d+|[-+*/()]", expression)
    try:
        value, rest = _sum(tokens)
    except (IndexError, ValueError, ZeroDivisionError):
        return None
    return value if not rest else None


def _sum(tokens: list[str]) -> tuple[Fraction, list[str]]:
    value, rest = _product(tokens)
    while rest and rest[0] in "+-":
        sign, (term, after) = rest[0], _product(rest[1:])
        value, rest = (value + term if sign == "+" else value - term), after
    return value, rest


def _product(tokens: list[str]) -> tuple[Fraction, list[str]]:
    value, rest = _factor(tokens)
    while rest and rest[0] in "*/":
        sign, (factor, after) = rest[0], _factor(rest[1:])
        value, rest = (value * factor if sign == "*" else value / factor), after
    return value, rest


def _factor(tokens: list[str]) -> tuple[Fraction, list[str]]:
    head, rest = tokens[0], tokens[1:]
    if head == "-":
        value, rest = _factor(rest)
        return -value, rest
    if head == "(":
        value, rest = _sum(rest)
        if rest[0] != ")":
            raise ValueError("bracket not closed")
        return value, rest[1:]
    return Fraction(head), rest
