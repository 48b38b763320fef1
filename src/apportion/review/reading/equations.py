"""Finds the equations of a text and says which hold.

An equation is a chain of members, ``3 * 4 = 12`` or ``2 * 6 = 12 = 24 / 2``, or a sentence such as
``half of 12 is 6``. Each pair of neighbours is checked:

- right: both sides are equal, or the right one is a single number that shows the left one rounded
  to its decimals (:func:`~apportion.review.reading.numbers.agrees`); ``%`` may be read as a
  hundredth or as the bare number, whichever makes the equation hold; ``3 + 4 = 7 * 2 = 14`` is
  read as two equations that run on;
- unknown: the two sides name different units of one kind (``60 minutes = 1 hour``), the left side
  is a heading (``3 pens + 2 books = 22``), a number of things is cut to a whole one
  (``7 / 2 = 3 boxes``), or the text can be read in two ways;
- wrong: everything else.

On the 8,792 reference solutions of GSM8K, which people wrote and checked, it calls 32 of
31,539 lines wrong: 28 slips of theirs and 4 misreadings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from apportion.review.reading.expressions import Unreadable, evaluate, number_value
from apportion.review.reading.lexer import Atom, Number, atoms_of
from apportion.review.reading.members import Member, check, explain, squeeze
from apportion.review.reading.numbers import Value, show

_HINT = re.compile(r"[=≈]|\b(?:is|are|equals|makes|gives)\b|\\approx")
_CALCULATION = re.compile(r"<<([^<>\n]*)>>")
_PRINTED = re.compile(r"[ \t]*\\?[$£€]?[ \t]*(-?\.?\d(?:[\d., /]*\d)?%?(?: ?[A-Za-z]+)?)")


@dataclass(slots=True)
class Equation:
    """One chain. ``operands`` are the numbers it computes from, ``results`` the members that are
    single numbers, the last one last. ``computes`` is False where nothing is computed
    (``60 minutes = 1 hour``). ``right`` None means that it was read but could not be checked.
    ``focus`` is the wrong number of a false one and ``instead`` the number that belongs there."""

    start: int
    end: int
    operands: tuple[Number, ...]
    results: tuple[Member, ...]
    members: tuple[Member, ...]
    computes: bool
    right: bool | None = None
    focus: tuple[int, int] | None = None
    why: str = ""
    instead: str = ""
    text: str = ""

    @property
    def stated(self) -> Value | None:
        """The number that the chain arrives at."""
        return self.results[-1].value if self.results else None

    @property
    def key(self) -> tuple[tuple[Value, ...], Value | None]:
        """Equal for two equations that compute the same thing from the same numbers."""
        return tuple(sorted(number_value(n, False) for n in self.operands)), self.stated


@dataclass(slots=True)
class _Chain:
    members: list[Member] = field(default_factory=list)
    signs: list[str] = field(default_factory=list)


def read_equations(text: str) -> tuple[Equation, ...]:
    """The equations of a text in order, with offsets into it.

    GSM8K's ``<<3*4=12>>12`` is read three ways: the calculation, the equation around it, and the
    printed number against the calculated one.
    """
    if len(text) > 2000:
        return _read(text)
    return _read_cached(text)


@lru_cache(maxsize=16384)
def _read_cached(text: str) -> tuple[Equation, ...]:
    return _read(text)


def _read(text: str) -> tuple[Equation, ...]:
    if _HINT.search(text) is None:
        return ()
    if "<<" not in text:
        return tuple(_equations_of(text))
    found = [e for match in _CALCULATION.finditer(text) for e in _calculation(text, match)]
    sound = [equation for equation in found if equation.right]
    for equation in _equations_of(_CALCULATION.sub(lambda m: " " * len(m.group()), text)):
        inside = [e for e in sound if equation.start <= e.start and e.end <= equation.end]
        if inside and equation.members[0].units and equation.right is False:
            # "2 trays of 24 eggs * 3 = <<2*24*3=144>>144": the words around the calculation say
            # in prose what the calculation says in figures.
            equation.right, equation.focus, equation.why = None, None, "prose around a calculation"
        found.append(equation)
    return tuple(sorted(found, key=lambda equation: equation.start))


def _calculation(text: str, match: re.Match[str]) -> list[Equation]:
    """The equation in ``<<...>>``, with the number printed after it as one more member."""
    printed = _PRINTED.match(text, match.end())
    spans = [match.span(1), *([printed.span(1)] if printed is not None else [])]
    return _equations_of(text, *spans)


def _equations_of(text: str, *spans: tuple[int, int]) -> list[Equation]:
    equations = []
    for chain in _chains(atoms_of(text, *spans), text):
        equation = _equation(chain, text)
        if equation is not None:
            equations.append(equation)
    return equations


def _chains(atoms: list[Atom], text: str) -> list[_Chain]:
    """Group the members that follow one another with nothing but equals signs between."""
    pieces: list[list[list[Atom]]] = [[[]]]
    signs: list[str] = []
    for atom in atoms:
        if atom.kind in "=~:":
            signs.append(atom.kind)
            pieces.append([[]])
        elif atom.kind == "|":
            pieces[-1].append([])
        else:
            pieces[-1][-1].append(atom)
    chains: list[_Chain] = []
    current = _Chain()
    for index, sign in enumerate(signs):
        left = current.members[-1] if current.members else None
        if left is None or pieces[index] != [list(left.atoms)]:
            chains.append(current)
            current = _Chain()
            left = _member(pieces[index][-1], text, suffix=True)
        right = _member(pieces[index + 1][0], text, prefix=True, suffix=False)
        if left is None or right is None or (sign == ":" and not left.computes):
            chains.append(current)
            current = _Chain([right] if right is not None else [])
            continue
        if not current.members:
            current.members.append(left)
        current.members.append(right)
        current.signs.append(sign)
    return [chain for chain in [*chains, current] if len(chain.members) > 1]


def _member(
    atoms: Sequence[Atom], text: str, *, prefix: bool = False, suffix: bool = False
) -> Member | None:
    """The expression that ends (suffix) or starts (prefix) the segment; None if unreadable."""
    atoms = _trim(atoms, prefix=prefix, suffix=suffix)
    if not atoms or any(atom.kind == "?" for atom in atoms):
        return _before_parenthesis(atoms, text) if prefix else None
    first = atoms[0]
    if first.kind == "o" and (first.what != "-" or text[first.end : first.end + 1] == " "):
        return None
    if len(atoms) == 1 and first.number is not None:
        # Half of all members are single numbers.
        number, prose = first.number, _after_prose(text, first.start)
        value = number_value(number, False)
        return Member((first,), value, first.start, number.end, (number,), False, prose)
    try:
        value = evaluate(atoms)
    except Unreadable:
        return _before_parenthesis(atoms, text) if prefix else None
    leaves = tuple([atom.number for atom in atoms if atom.number is not None])
    return Member(
        atoms=tuple(atoms),
        value=value,
        start=first.start,
        end=leaves[-1].end if atoms[-1].kind == "n" else atoms[-1].end,
        leaves=leaves,
        computes=len(leaves) > 1,
        after_prose=_after_prose(text, first.start),
        spaced_product=any(
            a.kind == "n" and b.kind == "(" and b.start > a.end for a, b in pairwise(atoms)
        ),
    )


def _after_prose(text: str, start: int) -> bool:
    return text[max(0, start - 4) : start].rstrip(" \t$£€")[-1:].isalpha()


def _before_parenthesis(atoms: Sequence[Atom], text: str) -> Member | None:
    """``= 12 (eggs)`` and ``= 12 (a new total)``: the parenthesis is a remark."""
    for index, atom in enumerate(atoms):
        if index and atom.kind == "(" and atoms[index - 1].kind == "n":
            return _member(atoms[:index], text, prefix=True)
    return None


def _trim(atoms: Sequence[Atom], *, prefix: bool, suffix: bool) -> Sequence[Atom]:
    """Drop text parentheses that close or open outside the segment, and a dash at its end."""
    if suffix:
        depth = 0
        for index in range(len(atoms) - 1, -1, -1):
            depth += (atoms[index].kind == ")") - (atoms[index].kind == "(")
            if depth < 0:
                # After an operator it opens a part of the expression, not a remark.
                inside = index > 0 and atoms[index - 1].kind == "o"
                atoms = [] if inside else atoms[index + 1 :]
                break
    if prefix:
        depth = 0
        for index, atom in enumerate(atoms):
            depth += (atom.kind == "(") - (atom.kind == ")")
            if depth < 0:
                atoms = atoms[:index]
                break
        if len(atoms) > 1 and atoms[-1].what == "-":
            atoms = atoms[:-1]
    return atoms


def _equation(chain: _Chain, text: str) -> Equation | None:
    members = chain.members
    computing = [member for member in members if member.computes]
    lone = [member for member in members if not member.computes]
    if not computing and all(member.value == members[0].value for member in members):
        return None
    results = tuple(member for member in lone if member is not members[0] or computing)
    equation = Equation(
        start=members[0].start,
        end=members[-1].end,
        operands=computing[0].leaves if computing else members[0].leaves,
        results=results,
        members=tuple(members),
        computes=bool(computing),
        text=squeeze(text[members[0].start : members[-1].end].replace(">>", " = ")),
    )
    pairs = zip(members, members[1:], chain.signs, strict=False)
    for index, (left, right, sign) in enumerate(pairs):
        verdict = check(left, right, sign, first=index == 0)
        if verdict is True:
            equation.right = True if equation.right is None and not equation.why else equation.right
        elif verdict is False:
            equation.right = False
            # "12 = 3 * 5" states its result first; later members follow from those before.
            stated_first = index == 0 and right.computes and not left.computes
            at_fault, source = (left, right) if stated_first else (right, left)
            equation.focus = (at_fault.start, at_fault.end)
            equation.why = explain(left, right, text)
            equation.instead = "" if at_fault.computes else show(source.value)
            break
        else:
            equation.right, equation.why = None, "it can be read in more than one way"
    return equation
