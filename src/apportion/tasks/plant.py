"""Planted errors: completions whose every step has a known verdict.

The rules of the verdicts are those of :class:`apportion.tasks.base.Planted`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from apportion.tasks.arithmetic import arithmetic
from apportion.tasks.base import Planted, PlantedKind
from apportion.tasks.lines import join_lines, line_steps, reasoning_end
from apportion.tasks.stable import stable_hash
from apportion.trace import Step, StepVerdict

_ANNOTATION = re.compile(r"<<([^<>=]+)=([^<>=]+)>>(\d[\d,]*(?:\.\d+)?)?")


@dataclass(frozen=True)
class Fault:
    """The wrong number of a line, as a span inside the line; ``instead`` is the line as it ought
    to be."""

    focus: tuple[int, int]
    reason: str
    instead: str = ""


def planted(
    kind: PlantedKind,
    lines: Sequence[str],
    answer: str,
    faults: Mapping[int, Fault],
    *,
    irrelevant: frozenset[int] = frozenset(),
    undecided: frozenset[int] = frozenset(),
    uses: Mapping[int, tuple[int, ...]] | None = None,
) -> Planted:
    """Write the lines down and say the truth about each.

    Line indices: ``faults`` are harmful, ``irrelevant`` are true and unused, ``undecided`` have
    no truth; all others are right and useful. ``uses`` are the earlier lines that a line needs.
    """
    text = join_lines(list(lines), answer)
    steps = line_steps(text, reasoning_end(text))
    truth = [
        _verdict(index, step, faults, irrelevant, undecided, uses or {})
        for index, step in enumerate(steps)
    ]
    return Planted(kind, text, steps, tuple(truth))


def _verdict(
    index: int,
    step: Step,
    faults: Mapping[int, Fault],
    irrelevant: frozenset[int],
    undecided: frozenset[int],
    uses: Mapping[int, tuple[int, ...]],
) -> StepVerdict:
    depends_on = uses.get(index, ())
    if index in undecided:
        return StepVerdict(depends_on=depends_on, reason="takes a number that no step derived")
    if index in faults:
        fault = faults[index]
        focus = (step.start + fault.focus[0], step.start + fault.focus[1])
        return StepVerdict(
            label="harmful",
            correct=False,
            focus=focus,
            reason=fault.reason,
            instead=fault.instead,
            depends_on=depends_on,
        )
    if index in irrelevant:
        return StepVerdict(label="irrelevant", correct=True, depends_on=depends_on)
    return StepVerdict(label="useful", correct=True, depends_on=depends_on)


def wrong_value(value: Fraction, rng: random.Random) -> Fraction:
    """Another number as a slip would make it: one off, a digit off, a carry forgotten."""
    offsets = [-10, -2, -1, 1, 2, 10]
    rng.shuffle(offsets)
    return next(value + offset for offset in offsets if value < 0 or value + offset > 0)


def plant_in_annotated(gold: str, seed: int) -> list[Planted]:
    """Clean, wrong arithmetic and a lucky answer from a solution with ``<<3*4=12>>`` marks.

    The wrong result stands in the mark and after it. Nothing is carried on through later lines:
    ``wrong_arithmetic`` is in the last line, whose result is the answer, so that the answer is
    wrong with it; ``lucky_answer`` is in an earlier line. The kinds that a solution has no place
    for are left out.
    """
    end = reasoning_end(gold)
    lines = [line for line in gold[:end].split("\n") if line.strip()]
    answer = gold[end:].strip().removeprefix("####").strip()
    marks = _marks(lines)
    if not marks:
        return []
    rng = random.Random(stable_hash(f"plant {seed} {gold}"))
    made = [planted("clean", lines, answer, {})]
    last_line, last = marks[-1]
    if last_line == len(lines) - 1 and last[2] == _number(answer):
        wrong, fault = _slip(lines[last_line], last, rng)
        bad = wrong[slice(*fault.focus)]
        changed = [*lines[:last_line], wrong]
        made.append(planted("wrong_arithmetic", changed, bad, {last_line: fault}))
    earlier = [(line, mark) for line, mark in marks[:-1] if line != last_line]
    if earlier:
        line, mark = rng.choice(earlier)
        wrong, fault = _slip(lines[line], mark, rng)
        changed = [*lines[:line], wrong, *lines[line + 1 :]]
        made.append(planted("lucky_answer", changed, answer, {line: fault}))
    return made


_Mark = tuple[int, int, Fraction]


def _marks(lines: list[str]) -> list[tuple[int, _Mark]]:
    """(line, (start of the result, end, value)) of each annotation that is simple and true."""
    found: list[tuple[int, _Mark]] = []
    for index, line in enumerate(lines):
        for match in _ANNOTATION.finditer(line):
            value = _number(match[2])
            if value is not None and arithmetic(match[1]) == value:
                found.append((index, (match.start(2), match.end(2), value)))
    return found


def _slip(line: str, mark: _Mark, rng: random.Random) -> tuple[str, Fault]:
    start, end, value = mark
    wrong = _plain(wrong_value(value, rng))
    rest = line[end:]
    after = re.match(r">>(\d[\d,]*(?:\.\d+)?)", rest)
    if after is not None and _number(after[1]) == value:
        rest = f">>{wrong}{rest[after.end() :]}"
    changed = line[:start] + wrong + rest
    return changed, Fault((start, start + len(wrong)), f"it is {_plain(value)}", line)


def _number(text: str) -> Fraction | None:
    text = text.strip().replace(",", "").removeprefix("$")
    return Fraction(text) if re.fullmatch(r"-?(\d+\.?\d*|\.\d+)", text) else None


def _plain(value: Fraction) -> str:
    """As a whole number or a decimal; annotations hold nothing else."""
    return str(value.numerator) if value.denominator == 1 else f"{float(value):.10g}"
