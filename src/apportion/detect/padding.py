"""Padding: steps that repeat or say nothing, and chains longer than the task needs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from apportion.detect.chain import Chain, Sum
from apportion.detect.finding import Detection, Finding, detection
from apportion.review.reading import Value
from apportion.review.reading.numbers import words
from apportion.review.reading.phrases import says_nothing
from apportion.trace import Problem, Step

KIND = "padding"
# What a repeated sentence may change without saying anything else.
_LINKS = frozenset(
    words(
        "again also and as before but hence i know now okay so still that the then therefore thus "
        "we well which once more"
    )
)
_TOKENS = re.compile(r"[^\W_]+|[^\w\s]")


def padding(chain: Chain) -> Detection:
    """Share of steps that say nothing (fillers, punctuation) or repeat an earlier step.

    A repetition is the same words and numbers again, or the same sum where nothing takes its
    result once more: two different things may cost 12 each, and are then both taken.
    """
    findings = []
    seen: dict[tuple[str, ...], int] = {}
    surplus = _surplus(chain)
    for index, text in enumerate(chain.texts):
        said = _gist(text)
        if chain.checks[index]:
            why = ""  # a check for show, or a real one: see performative
        elif says_nothing(text):
            why = "says nothing"
        elif said in seen and (any(map(str.isalpha, said)) or not chain.of_step[index]):
            why = f"repeats step {seen[said]}"
        elif index in surplus:
            why = f"computes again what step {surplus[index]} computed, and nothing takes it"
        else:
            why = ""
        seen.setdefault(said, index)
        if why:
            findings.append(Finding(KIND, (index,), (chain.steps[index],), why))
    return detection(chain, findings)


def excess(steps: Sequence[Step], problem: Problem) -> float | None:
    """Steps written over steps needed; None where the problem does not know its own steps."""
    needed = problem.meta.get("steps")
    return len(steps) / len(needed) if needed and isinstance(needed, list | tuple) else None


def _gist(text: str) -> tuple[str, ...]:
    return tuple(word for word in _TOKENS.findall(text.lower()) if word not in _LINKS)


def _surplus(chain: Chain) -> dict[int, int]:
    """Steps all of whose sums an earlier step did, and whose results nothing takes once more; with
    that earlier step."""
    first: dict[tuple[tuple[Value, ...], Value | None], int] = {}
    made: dict[Value | None, list[int]] = defaultdict(list)
    again: dict[int, int] = {}
    for index, own in enumerate(chain.of_step):
        if chain.checks[index]:
            continue  # who then computes it does not repeat it
        earlier = [first[s.key] for _, s in own if s.key in first]
        repeated = bool(own) and len(earlier) == len(own)
        if repeated and not any(_taken(chain, made[s.stated], at, s) for at, s in own):
            again[index] = earlier[0]
        for place, s in own:
            first.setdefault(s.key, index)
            made[s.stated].append(place)
    return again


def _taken(chain: Chain, made: Sequence[int], place: int, s: Sum) -> bool:
    """Whether something takes the result afterwards, and more often than it was ``made`` before
    (by the sums of these places)."""
    if s.stated is None or not made:
        return False
    return chain.uses_after(place, s.stated) > 0 and len(made) < chain.uses_after(made[0], s.stated)
