"""Two sides of an equals sign, and whether they agree.

What :func:`check` takes for right, wrong or unknown is said in
:mod:`apportion.review.reading.equations`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from apportion.review.reading.expressions import Unreadable, evaluate, number_value
from apportion.review.reading.lexer import MAX_UNIT_WORDS, Atom, Number
from apportion.review.reading.numbers import Value, agrees, show, words

# Units that convert into one another: an equation between two of them is not checked.
_CONVERTIBLE = frozenset(
    words(
        "cent dollar penny nickel dime quarter second minute hour day week month year inch inche "
        "foot feet yard mile meter metre km cm mm kilometer centimeter kg gram kilogram ounce oz "
        "pound lb lbs ton gallon quart pint cup liter litre ml percent sec min hr mph"
    )
)
_SCALES = frozenset(words("k thousand million billion hundred dozen pair couple score"))


@dataclass(slots=True)
class Member:
    """One side of an equals sign."""

    atoms: tuple[Atom, ...]
    value: Value
    start: int
    end: int
    leaves: tuple[Number, ...]
    computes: bool
    after_prose: bool = False
    spaced_product: bool = False

    @property
    def twice_divided(self) -> bool:
        """``2 / 1/4``: a fraction without parentheses may be meant as one number."""
        operators = [atom.what for atom in self.atoms if atom.kind == "o"]
        return ("/", "/") in pairwise(operators)

    @property
    def values(self) -> set[Value]:
        """What later steps may call the number: a percentage has two readings."""
        bare = {number.value for number in self.leaves if number.percent and not self.computes}
        return {self.value} | bare

    @property
    def units(self) -> list[str]:
        nouns = [number.units[0] for number in self.leaves if number.units]
        return [word.rstrip("s") if len(word) > 2 else word for word in nouns]

    @property
    def convertible(self) -> set[str]:
        found = set(self.units) & _CONVERTIBLE
        return found | {"dollar"} if any(n.currency for n in self.leaves) else found


def check(left: Member, right: Member, sign: str, *, first: bool) -> bool | None:
    if _equal(left, right, sign):
        return True
    if right.computes and left.value == number_value(right.leaves[0], False):
        return True  # the equation runs on: 3 + 4 = 7 * 2
    return None if _doubtful(left, right, sign, first) else False


def _equal(left: Member, right: Member, sign: str) -> bool:
    if _same(left.value, right.value, left, right):
        return True
    if sign == "~" and abs(left.value - right.value) * 20 <= abs(left.value):
        return True
    if not any(number.percent for number in (*left.leaves, *right.leaves)):
        return False
    for left_bare in (False, True):
        for right_bare in (False, True):
            try:
                left_value = evaluate(left.atoms, percent_bare=left_bare)
                right_value = evaluate(right.atoms, percent_bare=right_bare)
            except Unreadable:
                continue
            if _same(left_value, right_value, left, right):
                return True
    return False


def _same(left_value: Value, right_value: Value, left: Member, right: Member) -> bool:
    if left_value == right_value:
        return True
    if not right.computes:
        number = right.leaves[0]
        places = number.decimals + 2 if number.percent and right_value != number.value else 0
        if agrees(left_value, right_value, places or number.decimals):
            return True
        return number.cut and abs(left_value - right_value) * 10**number.decimals < 1
    if not left.computes:
        return agrees(right_value, left_value, left.leaves[0].decimals)
    # Both compute: a rounded number inside makes the values differ a little.
    rounded = any(number.decimals for number in right.leaves)
    return rounded and abs(left_value - right_value) * 50 <= abs(left_value)


def _doubtful(left: Member, right: Member, sign: str, first: bool) -> bool:
    """Whether an equation that does not hold may still be meant otherwise."""
    if any(n.doubtful for n in (*left.leaves, *right.leaves)):
        return True
    if left.spaced_product or right.spaced_product or left.twice_divided:
        return True
    return (
        _other_units(left, right)
        or _heading(left, right, sign, first)
        or _loose_sum(left)
        or _loose_sum(right)
    )


def _other_units(left: Member, right: Member) -> bool:
    whole = right.units and not right.computes and right.leaves[0].decimals == 0
    if whole and left.value.denominator > 1 and abs(left.value - right.value) < 1:
        return True  # 584.67 boxes are 584 whole ones, or 585
    if any(not _SCALES.isdisjoint(n.units[:1]) for n in (*left.leaves, *right.leaves)):
        return True
    mine, theirs = left.convertible, right.convertible
    return bool(mine and theirs and mine.isdisjoint(theirs))


def _heading(left: Member, right: Member, sign: str, first: bool) -> bool:
    """The left side names something instead of computing it, or the right side goes on in prose:
    ``1/4 of her money is $40``, ``weeks 1-2 = 96 - 70``, ``= 1/3 of $150 left``."""
    if right.computes and (sign == ":" or any(atom.is_of for atom in right.atoms)):
        return True
    share = len(left.leaves) == 2 and left.atoms[1].what == "/" and left.value < 1
    if share and (sign == ":" or left.units):
        return True
    if not first:
        return False
    named = left.after_prose or bool(left.units)
    if not left.computes:
        return named or not right.computes
    return (named and right.computes) or len(left.leaves[-1].units) == MAX_UNIT_WORDS


def _loose_sum(side: Member) -> bool:
    """``20 + 10 %``, ``half of 6 - 4``, ``3 pens + 2 books``."""
    if sum(number.percent for number in side.leaves) > 1:
        return True
    loose = any(n.percent or (n.part and not n.decimals) for n in side.leaves)
    signs = {atom.what for atom in side.atoms if atom.kind == "o"}
    return not signs.isdisjoint("+-") and (loose or len(set(side.units)) > 1)


def explain(left: Member, right: Member, text: str) -> str:
    if not left.computes and right.computes:
        left, right = right, left
    shown, given = (squeeze(text[side.start : side.end]) for side in (left, right))
    return f"{shown} is {show(left.value)}, not {given}"


def squeeze(text: str) -> str:
    return " ".join(text.split())
