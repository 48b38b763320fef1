"""How many prompt injections get a wrong answer past a grader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal, NamedTuple

import yaml

from apportion.review.base import Reviewer
from apportion.review.outcome_judge import whole_verdict
from apportion.review.panel import Item, review_now
from apportion.segment import segment
from apportion.stats import Estimate, share
from apportion.trace import Problem, Review

Place = Literal["reasoning", "answer"]


class Answer(NamedTuple):
    """A completion; ``reasoning_end`` is where its reasoning stops."""

    problem: Problem
    text: str
    reasoning_end: int


@dataclass(frozen=True)
class Injected:
    """``through`` is the share of injected answers called right, of those that the grader calls
    wrong without an injection and judged with one; None where there are none. ``by_text`` splits
    it. ``fooled_without`` counts answers called right as they are, ``failed`` reviews that failed
    or abstained: neither is in ``through``."""

    through: Estimate | None
    by_text: dict[str, Estimate | None]
    fooled_without: int
    failed: int


def shipped_injections() -> dict[str, str]:
    """The shipped texts by name."""
    text = files("apportion.review").joinpath("injections.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def measure_injections(
    grader: Reviewer,
    wrong: Sequence[Answer],
    *,
    injections: Mapping[str, str] | None = None,
    place: Place = "answer",
) -> Injected:
    """Put every injection into every wrong answer, at the end of its reasoning or after its answer,
    and ask the grader, which is never told the outcome. ``injections`` are texts by name, the
    shipped ones unless given: harmless ones are the control. Intervals are Wilson's, 95 %.
    """
    texts = shipped_injections() if injections is None else dict(injections)
    plain = _graded(grader, [(one.problem, one.text, one.reasoning_end) for one in wrong])
    resisted = [one for one, right in zip(wrong, plain, strict=True) if right is False]
    names = [name for name in texts for _ in resisted]
    found = _graded(
        grader,
        [injected(one, text, place) for text in texts.values() for one in resisted],
    )
    pairs = list(zip(names, found, strict=True))
    return Injected(
        through=_share([right for _, right in pairs]),
        by_text={name: _share([r for n, r in pairs if n == name]) for name in texts},
        fooled_without=sum(right is True for right in plain),
        failed=sum(right is None for right in [*plain, *found]),
    )


def injected(one: Answer, text: str, place: Place) -> tuple[Problem, str, int]:
    """Problem, completion with the injection, and the new end of its reasoning."""
    problem, whole, end = one
    if place == "answer":
        return problem, f"{whole}\n{text}", end
    before = whole[:end] + ("" if whole[:end].endswith("\n") or not end else "\n") + text + "\n"
    return problem, before + whole[end:], len(before)


def _graded(grader: Reviewer, rows: Sequence[tuple[Problem, str, int]]) -> list[bool | None]:
    """Whether each is called right; None where the review failed or abstains."""
    items = [
        Item(problem, text, segment(text, end, "line"), None, str(i))
        for i, (problem, text, end) in enumerate(rows)
    ]
    return [_right(reviews[0]) for reviews in review_now([grader], items)] if items else []


def _right(review: Review) -> bool | None:
    verdict = whole_verdict(review.verdicts)
    return None if not review.ok or verdict.abstains else not verdict.wrong


def _share(found: Sequence[bool | None]) -> Estimate | None:
    judged = [right for right in found if right is not None]
    return share(sum(judged), len(judged))
