"""What a step model sees of a step: numbers that the chain's reader finds, and hashed words.

Nothing here is learned and nothing looks at the reference answer, so that what is learned on some
problems can hold on others.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from apportion.review.arithmetic import CONSTANTS, judge
from apportion.review.reading import Equation, Value, numbers_in, read_equations, stated_answer
from apportion.trace import Step, StepVerdict

# Raised whenever a feature changes its meaning: a model trained on others must be refused.
VERSION = 1
WORDS = 1024  # buckets of the hashed words
OPERANDS = 2  # how many numbers of a step's first equation are described
_OF_OPERAND = 8
_GENERAL = 16
NUMBERS = _GENERAL + OPERANDS * _OF_OPERAND

_WORD = re.compile(r"[^\W\d_]+")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_OPERATOR = re.compile(r"[\d)]\s*([-+*/×÷])\s*[($]*\d")


class Features(NamedTuple):
    """Of S steps. ``numbers`` (S, ``NUMBERS``) float32; ``buckets`` of the words of each, an array
    of indices below ``WORDS``; ``depends_on``, the earlier steps whose numbers each takes."""

    numbers: np.ndarray
    buckets: list[np.ndarray]
    depends_on: list[tuple[int, ...]]


def features_of(prompt: str, text: str, steps: Sequence[Step]) -> Features:
    """What a step model is given of each step."""
    chain = _Chain(prompt, text, steps)
    numbers_SF = np.zeros((len(steps), NUMBERS), dtype=np.float32)
    buckets_S = []
    for index in range(len(steps)):
        numbers_SF[index] = chain.numbers(index)
        hashed = {zlib.crc32(token.encode("utf-8", "replace")) % WORDS
                  for token in chain.tokens(index)}  # fmt: skip
        buckets_S.append(np.array(sorted(hashed), dtype=np.int64))
        chain.read_on(index)
    return Features(numbers_SF, buckets_S, [v.depends_on for v in chain.verdicts])


class _Chain:
    """The steps so far: which numbers were made, by which step, and taken already."""

    def __init__(self, prompt: str, text: str, steps: Sequence[Step]) -> None:
        self.texts = [step.text(text) for step in steps]
        self.verdicts = judge(prompt, text, steps)
        self.equations = [
            [e for e in read_equations(own) if e.computes or e.right is not None]
            for own in self.texts
        ]
        self.sentences = [
            (numbers_in(s), _stems(s)) for s in _SENTENCE.split(prompt.strip()) if s.strip()
        ]
        self.stated = numbers_in(prompt)
        end = steps[-1].end if steps else 0
        answer = stated_answer(text[end:])
        self.answer = answer[0] if answer else None
        self.made: dict[Value, int] = {}
        self.taken: dict[Value, int] = {}

    def read_on(self, index: int) -> None:
        for equation in self.equations[index]:
            for operand in equation.operands:
                self.taken[operand.value] = self.taken.get(operand.value, 0) + 1
            if equation.stated is not None:
                self.made[equation.stated] = index

    def numbers(self, index: int) -> list[float]:
        equations, verdict = self.equations[index], self.verdicts[index]
        first = equations[0] if equations else None
        found = [
            *_place(index, len(self.texts)),
            *_read(verdict),
            min(len(equations), 3) / 3,
            float("=" in self.texts[index]) - float(first is not None),
            float("from nowhere" in verdict.reason),
            *self._result(index, first),
        ]
        operands = [o.value for o in first.operands] if first else []
        words = _stems(self.texts[index])
        for slot in range(OPERANDS):
            value = operands[slot] if slot < len(operands) else None
            found += [0.0] * _OF_OPERAND if value is None else self._operand(index, value, words)
        return found

    def _result(self, index: int, first: Equation | None) -> list[float]:
        if first is None or first.stated is None:
            return [0.0] * 5
        later = any(
            operand.value == first.stated
            for equations in self.equations[index + 1 :]
            for e in equations
            for operand in e.operands
        )
        waiting = sum(value not in self.taken for value in self.made)
        return [
            float(later),
            float(first.stated == self.answer),
            float(first.stated in self.stated or first.stated in self.made),
            float(first.stated.denominator != 1),
            min(waiting, 3) / 3,
        ]

    def _operand(self, index: int, value: Value, words: frozenset[str]) -> list[float]:
        """Where a number comes from, and whether the words of the step speak of that place."""
        overlaps = [len(words & spoken) for _, spoken in self.sentences]
        of_value = [
            n for n, (held, _) in zip(overlaps, self.sentences, strict=True) if value in held
        ]
        best = max(overlaps, default=0)
        source = self.made.get(value)
        of_source = len(words & _stems(self.texts[source])) if source is not None else 0
        return [
            float(bool(of_value)),
            float(source is not None),
            float(not of_value and source is None) * (0.5 if value in CONSTANTS else 1.0),
            min(max(of_value, default=0), 3) / 3,
            (best - max(of_value)) / max(best, 1) if of_value else 0.0,
            min(self.taken.get(value, 0), 3) / 3,
            0.0 if source is None else 1 / (index - source),
            min(of_source, 3) / 3,
        ]

    def tokens(self, index: int) -> Iterator[str]:
        """Words of the step, its operator, and the operator with the words of the sentences that
        its numbers stand in."""
        text = self.texts[index]
        words = _stems(text)
        yield from words
        sign = _OPERATOR.search(text)
        operator = sign[1] if sign else ""
        yield f"operator {operator}"
        yield from (f"{operator} {word}" for word in words)
        first = self.equations[index][0] if self.equations[index] else None
        for slot, operand in enumerate(first.operands[:OPERANDS] if first else ()):
            for held, spoken in self.sentences:
                if operand.value in held:
                    yield from (f"{operator} {slot} {word}" for word in spoken)


def _place(index: int, count: int) -> list[float]:
    """First and last. Not how long the chain is: that would not hold on longer problems."""
    return [float(index == 0), float(index == count - 1)]


def _read(verdict: StepVerdict) -> list[float]:
    """What the equations of the step say for themselves."""
    return [
        float(verdict.correct is True),
        float(verdict.correct is False),
        float(verdict.label == "useful"),
        float(verdict.label == "irrelevant"),
        float(verdict.abstains),
        min(len(verdict.depends_on), 3) / 3,
    ]


def _stems(text: str) -> frozenset[str]:
    """Words in lower case without a plural s."""
    return frozenset(word.lower().rstrip("s") for word in _WORD.findall(text))
