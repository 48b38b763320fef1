"""What a reviewer can take from an answer about the numbers of a step, and what speaks against it.

An answer is somebody's word. What it quotes is looked up, and a quote that does not stand where it
should, or does not hold the number, counts for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from apportion.review.provenance import StepNumbers, sentences_of, statements_in
from apportion.review.quoting import Quote, quotes_in, steps_quoted
from apportion.review.reading import Value, numbers_in
from apportion.review.reading.numbers import parse_literal, words
from apportion.trace import Step

_FIGURES = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
_WORD = re.compile(r"[a-z]+")
# Words that say nothing about what a number is a number of.
_EMPTY = frozenset(
    words(
        "a all an and are as at by did do does each for from get gets had has have he her his how "
        "in is it less many more much of on one she so than the their then they to up was what with"
    )
)


@dataclass
class Origin:
    """Where a number is said to come from: an earlier step, or sentences of the problem; neither
    where the answer speaks of the number and says no place. ``takers`` are other steps that are
    said to take it from the problem too."""

    step: int | None = None
    sentences: list[str] = field(default_factory=list)
    takers: set[int] = field(default_factory=set)

    @property
    def known(self) -> bool:
        return self.step is not None or bool(self.sentences)


@dataclass(frozen=True)
class Chain:
    """The chain as the reviewer reads it, to check answers against."""

    problem: str
    text: str
    steps: Sequence[Step]
    numbers: Sequence[StepNumbers]

    def takes_from_problem(self, step: int, value: Value) -> bool:
        return any(t.value == value and t.source is None for t in self.numbers[step].taken)


def read_reply(reply: str, index: int, chain: Chain) -> dict[Value, list[Origin]]:
    """The origins of the numbers that step ``index`` takes, as far as the answer speaks of them.

    A quote belongs to the last of these numbers before it, and each time that a number is named
    anew its quotes are an origin of their own (``13 + 13`` may take one from each of two places).
    Where several places are quoted for one, the last is meant.
    """
    wanted = {taken.value for taken in chain.numbers[index].taken}
    quotes = quotes_in(reply)
    found: dict[Value, list[Origin]] = {}
    current: Value | None = None
    for place in sorted([*quotes, *_figures(reply, quotes)], key=lambda place: place[0]):
        if isinstance(place, Quote):
            if current is not None:
                _cite(place.text, current, found[current][-1], index, chain)
        elif place[1] in wanted:
            current = place[1]
            found.setdefault(current, []).append(Origin())
    return {value: _cited(origins) for value, origins in found.items()}


def _cited(origins: list[Origin]) -> list[Origin]:
    """Mentions without a place count only where the answer names no place at all."""
    return [origin for origin in origins if origin.known] or origins[:1]


def _figures(reply: str, quotes: Sequence[Quote]) -> list[tuple[int, Value]]:
    """The numbers outside quotes, with their places."""
    figures = []
    for match in _FIGURES.finditer(reply):
        literal = parse_literal(match.group())
        if literal and not any(q.start <= match.start() < q.end for q in quotes):
            figures.append((match.start(), literal[0]))
    return figures


def _cite(quoted: str, value: Value, origin: Origin, index: int, chain: Chain) -> None:
    held = [
        sentence
        for sentence in sentences_of(chain.problem)
        if quoted in sentence and value in numbers_in(sentence)
    ]
    if held:
        origin.step = None
        origin.sentences += [sentence for sentence in held if sentence not in origin.sentences]
        return
    for step in steps_quoted(quoted, chain.text, chain.steps):
        if step < index and value in chain.numbers[step].results:
            origin.step, origin.sentences = step, []
        elif step != index and chain.takes_from_problem(step, value):
            origin.takers.add(step)


@dataclass(frozen=True)
class Suspicion:
    """What speaks against a step, a sentence for each piece of evidence."""

    step: int
    value: Value
    evidence: tuple[str, ...]


def suspects(
    origins: Mapping[int, Mapping[Value, Sequence[Origin]]], unused: Sequence[int], chain: Chain
) -> list[Suspicion]:
    """The steps against which something speaks, those with most evidence first.

    For use where something must be wrong though every calculation holds. A number is suspect that
    comes from nowhere, that more steps take from the problem than the problem states it, or whose
    sentence shares no word with the step though other sentences do; and more so where an earlier
    step, one of ``unused``, arrived at something that nothing took.
    """
    found: dict[int, Suspicion] = {}
    for step, of_step in origins.items():
        for value, origin in ((v, o) for v, named in of_step.items() for o in named):
            evidence = tuple(_evidence(step, value, origin, unused, chain))
            if evidence and len(evidence) > len(found[step].evidence if step in found else ()):
                found[step] = Suspicion(step, value, evidence)
    return sorted(found.values(), key=lambda suspicion: -len(suspicion.evidence))


def _evidence(
    step: int, value: Value, origin: Origin, unused: Sequence[int], chain: Chain
) -> list[str]:
    if origin.step is not None:
        return []
    evidence = []
    if not origin.known:
        if any(taken.value == value and taken.known for taken in chain.numbers[step].taken):
            return []  # the reviewer finds a place for it, though the answer names none
        evidence.append("it comes from nowhere")
    elif len(origin.takers) + 1 > max(statements_in(chain.problem)[value], len(origin.sentences)):
        evidence.append("another step takes it too")
    if origin.sentences and _elsewhere(step, value, origin, chain):
        evidence.append("its sentence speaks of something else")
    if any(earlier < step for earlier in unused):
        evidence.append("an earlier result is left unused")
    return evidence


def _elsewhere(step: int, value: Value, origin: Origin, chain: Chain) -> bool:
    """Whether the problem has words of this step, and the cited sentences have none of them."""
    text = chain.steps[step].text(chain.text)
    equation = next(
        (
            e
            for e in chain.numbers[step].equations
            if any(number.value == value for number in e.operands)
        ),
        None,
    )
    named = _words(text[: equation.start] if equation else text) & _words(chain.problem)
    return bool(named) and not any(named & _words(sentence) for sentence in origin.sentences)


def _words(text: str) -> set[str]:
    found = {word.rstrip("s") for word in _WORD.findall(text.lower()) if word not in _EMPTY}
    return found - {""}
