"""What is left of a language model's answer once its mistakes of form are repaired.

A repair never makes up a verdict: it drops what says nothing about the text, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from apportion.trace import Step, StepVerdict

MAX_REPAIRS = 20
# Of the steps that an answer judges (or should have judged), so many have to be usable; else the
# rest is no review of the chain but of something near it.
USABLE_SHARE = 0.5


class Unparseable(ValueError):
    """The reply is no usable answer; the message is written for the model that gave it."""


class Reading(NamedTuple):
    """A reviewer's cut with its verdicts. ``repairs`` says what had to be mended, a sentence each;
    ``argument`` is what the reviewer argued before it judged."""

    steps: tuple[Step, ...]
    verdicts: tuple[StepVerdict, ...]
    repairs: tuple[str, ...] = ()
    argument: str = ""


def require_usable(usable: int, asked: int, problem: str) -> None:
    """Raise :class:`Unparseable` with the problem unless enough of the steps are usable."""
    if usable == 0 or usable < USABLE_SHARE * asked:
        raise Unparseable(problem)


def listed(repairs: Sequence[str]) -> tuple[str, ...]:
    """The first :data:`MAX_REPAIRS` of them, and how many more there are."""
    more = len(repairs) - MAX_REPAIRS
    return (*repairs[:MAX_REPAIRS], *([f"and {more} more"] if more > 0 else []))


def earlier_only(
    stated: Sequence[Sequence[int]], place: Sequence[int | None]
) -> tuple[list[tuple[int, ...]], list[str]]:
    """Dependencies that point to an earlier step, and a sentence for each of the others.

    ``stated[k]`` are the entries of the answer that its entry k depends on, ``place[k]`` is the
    step of the cut that entry k became; None where it became none. What is left has no circle,
    since every circle holds an edge that does not point back.
    """
    kept: list[tuple[int, ...]] = []
    repairs: list[str] = []
    for entry, sources in enumerate(stated):
        own = place[entry]
        good: set[int] = set()
        for source in dict.fromkeys(sources) if own is not None else ():
            other = place[source] if 0 <= source < len(place) else None
            if other is not None and own is not None and other < own:
                good.add(other)
            elif len(repairs) < MAX_REPAIRS:
                why = _fault(entry, source, stated, place)
                repairs.append(f"dropped the dependency of step {entry} on {why}")
            else:
                repairs.append("")  # counted, and not shown
        kept.append(tuple(sorted(good)))
    return kept, repairs


def _fault(
    entry: int, source: int, stated: Sequence[Sequence[int]], place: Sequence[int | None]
) -> str:
    """Why entry ``entry`` cannot depend on ``source``."""
    if not 0 <= source < len(stated):
        return f"step {source}: there is no such step"
    if source == entry:
        return "itself"
    if place[source] is None:
        return f"step {source}: it was dropped"
    if place[source] == place[entry]:
        return f"step {source}: both are one step of the text"
    circle = ", and depends on it in turn" if _reaches(source, entry, stated) else ""
    return f"step {source}: it comes later{circle}"


def _reaches(start: int, goal: int, stated: Sequence[Sequence[int]]) -> bool:
    """Whether ``goal`` is among what ``start`` depends on, directly or by way of others."""
    waiting, seen = [start], {start}
    while waiting:
        for source in stated[waiting.pop()]:
            if source == goal:
                return True
            if 0 <= source < len(stated) and source not in seen:
                seen.add(source)
                waiting.append(source)
    return False
