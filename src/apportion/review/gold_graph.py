"""The known steps of a problem, and which of them an equation computes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from apportion.review.reading import Equation, Value
from apportion.review.reading.expressions import Unreadable, evaluate
from apportion.review.reading.lexer import Atom, Number, atoms_of

# A merged step may contain at most this many gold steps; keeps the forms of a step few.
MAX_FORMS = 24
_OPEN, _CLOSE = Atom("(", 0, 0), Atom(")", 0, 0)

Key = tuple[tuple[Value, ...], Value]


@dataclass(frozen=True)
class Form:
    """One way to write a gold step. ``slots`` maps positions of number atoms to the gold steps
    whose results stand there; ``inside`` are gold steps whose own expressions are written out."""

    atoms: tuple[Atom, ...]
    slots: Mapping[int, int]
    inside: frozenset[int]

    @property
    def leaves(self) -> int:
        return sum(atom.number is not None for atom in self.atoms)


@dataclass(frozen=True)
class GoldStep:
    label: str
    result: Value
    uses: tuple[int, ...]
    forms: tuple[Form, ...]
    key: Key


@dataclass(frozen=True)
class Match:
    """Gold step ``step`` as an equation writes it. ``taken`` maps each used gold step to the
    value that stands for it in the equation."""

    step: int
    taken: Mapping[int, Value]
    inside: frozenset[int]


def label_of(text: str, equation_start: int) -> str:
    """The words before an equation, which say what it is about."""
    return " ".join(text[:equation_start].split()).lower()


def operand_key(equation: Equation) -> Key:
    """Operands in order of size, and the exact value of the expression."""
    values = tuple(sorted(number.value for number in equation.operands))
    member = next(member for member in equation.members if member.computes)
    return values, member.value


@lru_cache(maxsize=2048)
def compile_graph(steps: tuple[tuple[str, str, int, tuple[int, ...]], ...]) -> tuple[GoldStep, ...]:
    """Gold steps from (text, expression, result, uses) of each.

    Raises:
        ValueError: an expression that cannot be read, or a use of a later step.
    """
    compiled: list[GoldStep] = []
    for index, (text, expression, result, uses) in enumerate(steps):
        if any(not 0 <= use < index for use in uses):
            raise ValueError(f"gold step {index} uses {list(uses)}, not earlier steps")
        atoms = tuple(atoms_of(expression)[:-1])
        try:
            value = evaluate(atoms)
        except Unreadable as error:
            raise ValueError(f"gold step {index}: '{expression}' cannot be read: {error}") from None
        slots = _slots(atoms, uses, [step.result for step in compiled])
        plain = Form(atoms, slots, frozenset())
        forms = tuple(itertools.islice(_forms(plain, compiled), MAX_FORMS))
        values = tuple(sorted(atom.number.value for atom in atoms if atom.number is not None))
        start = text.find(expression)
        label = label_of(text, start if start >= 0 else len(text))
        compiled.append(GoldStep(label, result, uses, forms, (values, value)))
    return tuple(compiled)


def _slots(atoms: Sequence[Atom], uses: Sequence[int], results: Sequence[Value]) -> dict[int, int]:
    """Which number of the expression is the result of which used step."""
    slots: dict[int, int] = {}
    for use in uses:
        for position, atom in enumerate(atoms):
            number = atom.number
            if number is not None and position not in slots and number.value == results[use]:
                slots[position] = use
                break
    return slots


def _forms(plain: Form, compiled: Sequence[GoldStep]) -> Iterator[Form]:
    """The form itself, then those with the expressions of used steps written in their place."""
    yield plain
    choices = [[None, *compiled[use].forms] for use in plain.slots.values()]
    for chosen in itertools.islice(itertools.product(*choices), 1, None):
        atoms: list[Atom] = []
        slots: dict[int, int] = {}
        inside: set[int] = set()
        by_position = dict(zip(plain.slots, chosen, strict=True))
        for position, atom in enumerate(plain.atoms):
            form = by_position.get(position)
            if form is None:
                if position in plain.slots:
                    slots[len(atoms)] = plain.slots[position]
                atoms.append(atom)
                continue
            slots |= {len(atoms) + 1 + p: use for p, use in form.slots.items()}
            inside |= form.inside | {plain.slots[position]}
            atoms.extend((_OPEN, *form.atoms, _CLOSE))
        yield Form(tuple(atoms), slots, frozenset(inside))


def find_match(
    step: int, gold: GoldStep, equation: Equation, values_of: Callable[[int], Sequence[Value]]
) -> Match | None:
    """How the equation computes this gold step, if it does.

    ``values_of(u)`` are those of the equation's operands that may stand for the result of gold
    step u.
    """
    values, value = operand_key(equation)
    for form in gold.forms:
        if form.leaves != len(values):
            continue
        positions = list(form.slots)
        options = [values_of(form.slots[position]) for position in positions]
        for chosen in itertools.product(*options):
            atoms = _with_values(form.atoms, dict(zip(positions, chosen, strict=True)))
            operands = sorted(atom.number.value for atom in atoms if atom.number is not None)
            if tuple(operands) != values:
                continue
            try:
                if evaluate(atoms) != value:
                    continue
            except Unreadable:
                continue
            taken = {form.slots[p]: v for p, v in zip(positions, chosen, strict=True)}
            return Match(step, taken, form.inside)
    return None


def _with_values(atoms: Sequence[Atom], values: Mapping[int, Value]) -> list[Atom]:
    changed = list(atoms)
    for position, value in values.items():
        changed[position] = Atom("n", 0, 0, "", Number(value, 0, 0, 0))
    return changed
