"""Numbers for a plan, and the expression that its answer is evaluated from.

Two codes compute the answer. Here the moves are run on integers, since a division needs a
divisor that goes; ``evaluate`` walks the expression tree in exact fractions and knows neither
moves nor texts.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from fractions import Fraction

from apportion.tasks.words_plan import Move, Plan


@dataclass(frozen=True)
class Expression:
    """A number, or an operator over two expressions. Shared parts make it a graph."""

    op: str = ""
    left: Expression | None = None
    right: Expression | None = None
    number: int = 0


@dataclass(frozen=True)
class Ranges:
    """How big numbers may be: ``factors`` multiply and divide, ``terms`` add and subtract."""

    factors: tuple[int, int] = (2, 9)
    terms: tuple[int, int] = (2, 60)
    largest: int = 999


@dataclass(frozen=True)
class Quantity:
    """What a move made: value, expression, the numbers its sentence states."""

    value: int
    expression: Expression
    stated: dict[str, int]
    operands: tuple[int, int] | None = None


def evaluate(expression: Expression) -> Fraction:
    """Value of the expression tree. Raises ZeroDivisionError for a division by zero."""
    if not expression.op:
        return Fraction(expression.number)
    assert expression.left is not None and expression.right is not None
    left, right = evaluate(expression.left), evaluate(expression.right)
    return apply(expression.op, left, right)


def apply(op: str, left: Fraction, right: Fraction) -> Fraction:
    """One exact operation."""
    if op == "+":
        return left + right
    if op == "-":
        return left - right
    if op == "*":
        return left * right
    return left / right


def draw(plan: Plan, ranges: Ranges, rng: random.Random) -> list[Quantity] | None:
    """One try at numbers that keep every quantity whole and in 1..largest; None if it fails."""
    # Most problems stay below 200 so that a small model can learn the arithmetic.
    limit = min(ranges.largest, 200 if rng.random() < 0.8 else ranges.largest)
    made: list[Quantity] = []
    for move in plan.moves:
        quantity = _make(move, made, ranges, limit, rng)
        if quantity is None or not 1 <= quantity.value <= limit:
            return None
        made.append(quantity)
    return made


def _leaf(number: int) -> Expression:
    return Expression(number=number)


def _between(rng: random.Random, low: int, high: int) -> int | None:
    return rng.randint(low, high) if low <= high else None


def _make(
    move: Move, made: list[Quantity], ranges: Ranges, limit: int, rng: random.Random
) -> Quantity | None:
    op, (low, high) = move.kind.op, ranges.terms
    if op == "value":
        a = rng.randint(low, high)
        return Quantity(a, _leaf(a), {"a": a})
    if not move.sources:
        a = rng.randint(*ranges.factors)
        b = rng.randint(2, 25 if rng.random() < 0.2 else 12)
        return Quantity(a * b, Expression("*", _leaf(a), _leaf(b)), {"a": a, "b": b}, (a, b))
    source = made[move.sources[0]]
    if len(move.sources) == 2:
        other = made[move.sources[1]]
        value = source.value + other.value if op == "+" else source.value - other.value
        tree = Expression(op, source.expression, other.expression)
        return Quantity(value, tree, {}, (source.value, other.value))
    x = _second(op, source.value, ranges, limit, rng)
    if x is None:
        return None
    if op == "from":
        tree = Expression("-", _leaf(x), source.expression)
        return Quantity(x - source.value, tree, {"x": x}, (x, source.value))
    value = int(apply(op, Fraction(source.value), Fraction(x)))
    return Quantity(value, Expression(op, source.expression, _leaf(x)), {"x": x}, (source.value, x))


def _second(op: str, value: int, ranges: Ranges, limit: int, rng: random.Random) -> int | None:
    """The number that a sentence states beside a quantity that is already known."""
    low, high = ranges.terms
    if op == "+":
        return _between(rng, low, min(high, limit - value))
    if op == "-":
        return _between(rng, low, min(high, value - 1))
    if op == "from":
        return _between(rng, value + low, min(value + high, ranges.largest))
    first, final = ranges.factors
    if op == "*":
        return _between(rng, first, min(final, limit // value))
    divisors = [d for d in range(first, final + 1) if value % d == 0 and value // d >= 2]
    return rng.choice(divisors) if divisors else None
