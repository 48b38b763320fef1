"""The offline reviewer: reads the equations of a chain, checks them, follows the numbers.

What is read, and when an equation holds, is said in
:mod:`apportion.review.reading.equations`. From the numbers that a step computes with and the
numbers it arrives at follow the dependencies between steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from apportion.review.reading import (
    Equation,
    Value,
    agrees,
    numbers_in,
    read_equations,
    show,
    stated_answer,
)
from apportion.review.reading.lexer import Number
from apportion.trace import Label, Problem, Review, Step, StepVerdict

# Numbers that a solution may bring along: counting, halves and quarters, and how days, weeks,
# years, hours, dozens, hundreds and the units of length are made up.
CONSTANTS: frozenset[Value] = frozenset(
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 25, 28, 30, 31, 36, 50, 52, 60, 90, 100)
) | frozenset((180, 360, 365, 366, 1000, 3600, 5280, 10000))
CONSTANTS |= frozenset(Fraction(a, b) for a, b in ((1, 2), (1, 3), (2, 3), (1, 4), (3, 4), (1, 10)))

# Of the steps that arrive at one number, so many (the last ones) count as sources of its use.
MAX_SOURCES = 8
_ABSTAINS = StepVerdict()


@dataclass(slots=True)
class _Reading:
    """One step as read. ``sources`` are earlier steps, ``strays`` numbers from nowhere."""

    equations: tuple[Equation, ...]
    sources: set[int] = field(default_factory=set)
    strays: list[Value] = field(default_factory=list)
    repeats: bool = False


class ArithmeticReviewer:
    """Deterministic, exact and offline. One verdict per given step:

    - no equation that can be read: abstains, except for the statement of a final answer that some
      step arrived at;
    - any equation wrong: not correct, harmful, ``focus`` on the wrong number;
    - else correct, and *useful* where a result of it leads to the final answer (without a stated
      one: to the last equation), *irrelevant* where none does or where it only repeats an earlier
      step. Where no step arrives at the stated answer, what was useful cannot be seen and the
      label is left open.

    A number that neither the problem, nor an earlier step, nor ``CONSTANTS`` holds is mentioned
    in ``reason`` and not held against the step: problems say numbers in ways that are not read.
    Where several steps arrive at the same number, whoever uses it depends on all of them (on the
    last ``MAX_SOURCES``).
    """

    critiques = 1
    max_concurrency = 1  # it never waits, so a second review at once would only wait for the first

    def __init__(self, name: str = "arithmetic") -> None:
        self.name = name

    async def review(
        self,
        problem: Problem,
        rollout_text: str,
        steps: Sequence[Step],
        outcome: float | None,
        *,
        rollout_id: str = "",
        critique: int = 0,
    ) -> Review:
        return Review(
            rollout_id=rollout_id,
            reviewer=self.name,
            critique=critique,
            steps=tuple(steps),
            verdicts=judge(problem.prompt, rollout_text, steps),
        )


def judge(prompt: str, text: str, steps: Sequence[Step]) -> tuple[StepVerdict, ...]:
    """The verdicts of :class:`ArithmeticReviewer`, one per step."""
    if not steps:
        return ()
    texts = [step.text(text) for step in steps]
    readings, producers = _follow(texts, numbers_in(prompt))
    answer = stated_answer(text[steps[-1].end :]) or stated_answer(texts[-1])
    final = answer[0] if answer else None
    roots = _roots(readings, producers, final)
    used = _reached(readings, roots)
    verdicts = []
    for index, (step, reading) in enumerate(zip(steps, readings, strict=True)):
        if reading.equations:
            verdict = _verdict(index, reading, step.start, used)
            verdicts.append(with_correction(verdict, texts[index], reading.equations))
        elif index == len(steps) - 1 and stated_answer(texts[-1]):
            verdicts.append(_answer_verdict(final, producers))
        else:
            verdicts.append(_ABSTAINS)
    return tuple(verdicts)


def _follow(
    texts: Sequence[str], stated: frozenset[Value]
) -> tuple[list[_Reading], dict[Value, list[int]]]:
    """Where each step takes its numbers from, and which steps arrive at a value."""
    producers: dict[Value, list[int]] = {}
    seen: set[object] = set()
    readings = []
    for index, text in enumerate(texts):
        reading = _Reading(read_equations(text))
        own: set[Value] = set()
        keys = set()
        for equation in reading.equations:
            keys.add(equation.key)
            for operand in equation.operands:
                _trace(operand, own, producers, stated, reading)
            for result in equation.results:
                own |= result.values
        reading.repeats = bool(keys) and keys <= seen
        if not reading.repeats:
            for value in own:
                producers.setdefault(value, []).append(index)
        seen |= keys
        readings.append(reading)
    return readings, producers


def _trace(
    operand: Number,
    own: set[Value],
    producers: dict[Value, list[int]],
    stated: frozenset[Value],
    reading: _Reading,
) -> None:
    values: list[Value] = [operand.value]
    if operand.percent:
        values.append(Fraction(operand.value) / 100)
    if any(value in own for value in values):
        return
    sources = [step for value in values for step in producers.get(value, ())[-MAX_SOURCES:]]
    reading.sources.update(sources)
    known = sources or any(value in stated or value in CONSTANTS for value in values)
    if not known and operand.value not in reading.strays:
        reading.strays.append(operand.value)


def _roots(
    readings: Sequence[_Reading], producers: dict[Value, list[int]], final: Value | None
) -> list[int] | None:
    """The steps that arrive at the final answer; None where an answer is stated and none does."""
    last = max((i for i, r in enumerate(readings) if r.equations), default=None)
    if last is None:
        return []
    if final is None:
        return [last]
    if final in producers:
        return producers[final]
    rounded = [
        result
        for equation in readings[last].equations
        for result in equation.results
        if agrees(result.value, final, 0)
    ]
    return [last] if rounded else None


def _reached(readings: Sequence[_Reading], roots: list[int] | None) -> set[int] | None:
    if roots is None:
        return None
    reached: set[int] = set()
    waiting = list(roots)
    while waiting:
        step = waiting.pop()
        if step not in reached:
            reached.add(step)
            waiting.extend(readings[step].sources)
    return reached


def _verdict(index: int, reading: _Reading, offset: int, used: set[int] | None) -> StepVerdict:
    depends_on = tuple(sorted(reading.sources))
    strays = ""
    if reading.strays:
        strays = f"; {', '.join(map(show, reading.strays))} is from nowhere that was read"
    for equation in reading.equations:
        if equation.right is False:
            assert equation.focus is not None
            return StepVerdict(
                label="harmful",
                correct=False,
                depends_on=depends_on,
                reason=equation.why + strays,
                focus=(equation.focus[0] + offset, equation.focus[1] + offset),
                confidence=1.0,
            )
    checked = [equation for equation in reading.equations if equation.right]
    if not checked:
        reason = f"{reading.equations[0].text}: {reading.equations[0].why}"
        return StepVerdict(depends_on=depends_on, reason=reason)
    label, why = _usefulness(index, reading, used)
    return StepVerdict(
        label=label,
        correct=True,
        depends_on=depends_on,
        reason=f"{checked[-1].text} holds; {why}{strays}",
        confidence=1.0,
    )


def with_correction(verdict: StepVerdict, step: str, equations: Sequence[Equation]) -> StepVerdict:
    """The verdict on a step, proposing the step with the number that its equation gives."""
    false = next((equation for equation in equations if equation.right is False), None)
    if false is None or false.focus is None or not false.instead:
        return verdict
    start, end = false.focus
    mended = step[:start] + false.instead + step[end:]
    return verdict.model_copy(update={"instead": mended.strip()})


def _usefulness(index: int, reading: _Reading, used: set[int] | None) -> tuple[Label | None, str]:
    if used is None:
        return None, "no step arrives at the stated answer, so its use cannot be seen"
    if index in used:
        return "useful", "it leads to the answer"
    if reading.repeats:
        return "irrelevant", "it repeats an earlier step"
    return "irrelevant", "nothing that leads to the answer uses it"


def _answer_verdict(final: Value | None, producers: dict[Value, list[int]]) -> StepVerdict:
    if final is None or final not in producers:
        return StepVerdict(reason="states an answer that no step arrived at")
    return StepVerdict(
        label="useful",
        correct=True,
        depends_on=tuple(producers[final]),
        reason="states the answer that the steps arrived at",
        confidence=1.0,
    )
