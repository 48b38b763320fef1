"""Which steps of a chain a question is about."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from apportion.errors import UserError
from apportion.explain.evidence import Chain, StepEvidence
from apportion.review.provenance import statements_in
from apportion.review.quoting import quote, quotes_in, steps_quoted
from apportion.review.reading import show

MAX_STEPS = 3  # that a quote or a number may stand for
_NUMBERED = re.compile(
    r"\b(?:steps?|thoughts?|lines?)\s*#?(\d{1,4}(?:\s*(?:,|and|or|&)\s*#?\d{1,4})*)", re.I
)
_BLAME = re.compile(
    r"\b(?:wrong|mistaken?|mistakes?|errors?|fail\w*|blam\w*|bad|harm\w*|incorrect|lost?|low\w*)\b",
    re.I,
)


class Chosen(NamedTuple):
    """Steps, counted from 0, and a sentence that says why these."""

    steps: tuple[int, ...]
    about: str


def choose_steps(question: str, chain: Chain, evidence: Callable[[int], StepEvidence]) -> Chosen:
    """The steps that the question names by number ("step 3", from 1 as on the page), quotes, or
    names by a number in them; else the one with the lowest credit where the chain failed or the
    question is about a fault, and with the highest otherwise.

    Raises UserError: the chain has no steps, not the one that is named, or not these words.
    """
    count = len(chain.steps)
    if not count:
        raise UserError(f"record {chain.found.name} has no reasoning to ask about")
    numbered = _by_number(question, chain)
    if numbered:
        return Chosen(numbered, f"The question names {_steps(numbered)}.")
    quoted = _by_quote(question, chain)
    if quoted:
        return Chosen(quoted, f"The question quotes {_steps(quoted)}.")
    held = _by_value(question, chain)
    if held is not None:
        return held
    return _by_credit(question, chain, [evidence(index) for index in range(count)])


def _by_number(question: str, chain: Chain) -> tuple[int, ...]:
    found: dict[int, None] = {}
    for match in _NUMBERED.finditer(question):
        for number in (int(n) for n in re.findall(r"\d+", match[1])):
            if not 1 <= number <= len(chain.steps):
                last = f"steps 1 to {len(chain.steps)}" if len(chain.steps) > 1 else "only step 1"
                raise UserError(f"there is no step {number}: record {chain.found.name} has {last}")
            found[number - 1] = None
    return tuple(found)


def _by_quote(question: str, chain: Chain) -> tuple[int, ...]:
    found: dict[int, None] = {}
    for quoted in quotes_in(question):
        steps = steps_quoted(quoted.text, chain.rollout.text, chain.steps)
        if not steps:
            raise UserError(
                f"no step of record {chain.found.name} says {quote(quoted.text)}: quote words as "
                "they stand there, or name the step by its number"
            )
        found |= dict.fromkeys(steps)
    return _few(list(found))


def _by_value(question: str, chain: Chain) -> Chosen | None:
    """By a number: the step that arrives at it, else those that take it."""
    for value in statements_in(question):
        arriving = [i for i, step in enumerate(chain.numbers) if value in step.results]
        if arriving:
            steps = _few(arriving)
            return Chosen(steps, f"{_capital(_steps(steps))} arrives at {show(value)}.")
        taking = [
            i
            for i, step in enumerate(chain.numbers)
            if any(taken.value == value for taken in step.taken)
        ]
        if taking:
            steps = _few(taking)
            return Chosen(steps, f"{_capital(_steps(steps))} computes with {show(value)}.")
    return None


def _by_credit(question: str, chain: Chain, evidence: Sequence[StepEvidence]) -> Chosen:
    failed = chain.rollout.outcome is not None and chain.rollout.outcome < 0.5
    blame = failed or _BLAME.search(question) is not None
    accused = [i for i, found in enumerate(evidence) if found.wrong]
    scored = [found.credit[0].value if found.credit else 0.0 for found in evidence]
    if max(scored) - min(scored) > 1e-9:
        best = min(scored) if blame else max(scored)
        method = evidence[0].credit[0].method
        kind = "lowest" if blame else "highest"
        step = scored.index(best)
        about = f"The question names no step; step {step + 1} has the {kind} credit under {method}."
        return Chosen((step,), about)
    if accused:
        step = accused[0]
        why = f"step {step + 1} is the first that its reviewers call wrong"
    else:
        step = len(evidence) - 1
        why = f"step {step + 1} is the last, and credit does not tell the steps apart"
    return Chosen((step,), f"The question names no step; {why}.")


def _few(steps: list[int]) -> tuple[int, ...]:
    return tuple(steps[:MAX_STEPS])


def _steps(steps: Sequence[int]) -> str:
    names = [str(step + 1) for step in steps]
    if len(names) == 1:
        return f"step {names[0]}"
    return f"steps {', '.join(names[:-1])} and {names[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
