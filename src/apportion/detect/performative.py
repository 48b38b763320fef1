"""Checks for show: steps that speak of verifying, or do a sum backwards, and change nothing.

A checking step changes something if it arrives at a number that is new and that a later step or
the answer takes. A reversal (``45 * 3 = 135`` after ``135 / 3 = 45``) needs no word to be seen,
but counts only where nothing takes its result, since a solution may go back and forth for a
reason.
"""

from __future__ import annotations

from apportion.detect.chain import Chain, Sum
from apportion.detect.finding import Detection, Finding, detection
from apportion.review.reading import numbers_in
from apportion.review.reading.phrases import CORRECTING

KIND = "performative"


def performative(chain: Chain) -> Detection:
    """Share of decorative checks among the steps.

    A step that repairs a mistake is none: see :mod:`apportion.detect.caught_mistakes`.
    """
    findings = []
    for index, text in enumerate(chain.texts):
        why = _decorative(chain, index, text)
        if why:
            findings.append(Finding(KIND, (index,), (chain.steps[index],), why))
    return detection(chain, findings)


def check_words(chain: Chain) -> float:
    """Share of steps that speak of checking, whether or not they do any."""
    spoken = sum(match is not None for match in chain.checks)
    return spoken / len(chain.steps) if chain.steps else 0.0


def _decorative(chain: Chain, index: int, text: str) -> str:
    own = chain.of_step[index]
    if any(s.right is False for _, s in own):
        return ""
    said = chain.checks[index]
    if said is None:
        backwards = bool(own) and all(_reversal(chain, place, s) for place, s in own)
        return "does an earlier sum backwards, and nothing takes the result" if backwards else ""
    if not own and numbers_in(text) - chain.known[index]:
        return ""  # it says something that could not be read
    if any(_new(chain, place, s) for place, s in own):
        return ""
    if CORRECTING.search(text) and _repairs(chain, index):
        return ""
    return f"says '{said.group().strip()}' and arrives at nothing that is used"


def _new(chain: Chain, place: int, s: Sum) -> bool:
    """Arrives at a number that was not there and that something takes."""
    return (
        s.stated is not None
        and s.stated not in chain.known[s.step]
        and chain.uses_after(place, s.stated) > 0
    )


def _repairs(chain: Chain, index: int) -> bool:
    """Whether an earlier step holds a wrong equation, which the words may be about."""
    return any(s.right is False for s in chain.sums if s.step < index)


def _reversal(chain: Chain, place: int, s: Sum) -> bool:
    if s.stated is None or s.stated not in chain.known[s.step]:
        return False
    of_these = chain.with_numbers[s.numbers]
    turned = any(e.step < s.step and e.stated != s.stated for e in of_these)
    return turned and chain.uses_after(place, s.stated) == 0
