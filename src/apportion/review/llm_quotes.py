"""A reviewer's own cut of the text, from the words that it quotes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from apportion.review.llm_prompt import defuse
from apportion.review.llm_reading import Reading, Unparseable, earlier_only, listed, require_usable
from apportion.trace import Step, StepVerdict

MAX_STEPS = 2000
_SHOWN_QUOTE = 80
_ANSWER_MARK = "[final answer]"  # how the answer is shown to the reviewer


class Quoted(Protocol):
    """One entry of an answer: the words it is about, what it depends on, its verdict."""

    quote: str
    depends_on: list[int]

    def verdict(self, sources: Sequence[int]) -> StepVerdict: ...


class _Placed(NamedTuple):
    entry: int
    span: Step


def read_quotes(
    judged: Sequence[Quoted], text: str, start: int, end: int, *, lenient: bool = False
) -> Reading:
    """The cut of ``[start, end)`` that the quotes make, with abstentions where nothing is quoted.

    Mended, and said in ``repairs``: quotes out of order, quotes that overlap (the later one keeps
    what is left of it), a quote of the final answer, dependencies that do not point back. A quote
    that is nowhere in the text is invented: it fails the answer, unless ``lenient`` and at least
    half of the quotes are real; then it is dropped.

    Raises:
        Unparseable: no quote, an invented one, or too many of them.
    """
    if not judged:
        raise Unparseable("the list of steps is empty")
    if len(judged) > MAX_STEPS:
        raise Unparseable(f"{len(judged)} steps are more than the {MAX_STEPS} that are read")
    shown = defuse(text)
    spans = _find_all([entry.quote for entry in judged], shown, start, end)
    repairs = _missing(judged, spans, shown, end, lenient)
    found = [_Placed(entry, span) for entry, span in enumerate(spans) if span is not None]
    ordered = sorted(found, key=lambda placed: (placed.span.start, -placed.span.end))
    if ordered != found:
        repairs.append("put the steps in the order of the text")
    kept, inside = _apart(ordered, repairs)
    steps, of_step = _with_gaps(kept, shown, start, end)
    place: list[int | None] = [None] * len(judged)
    for step, entry in enumerate(of_step):
        if entry is not None:
            place[entry] = step
    for entry, holder in inside.items():
        place[entry] = place[holder]
    sources, dropped = earlier_only(
        [[] if e in inside else entry.depends_on for e, entry in enumerate(judged)], place
    )
    verdicts = tuple(
        StepVerdict() if entry is None else judged[entry].verdict(sources[entry])
        for entry in of_step
    )
    return Reading(tuple(steps), verdicts, listed([*repairs, *dropped]))


def _find_all(quotes: Sequence[str], text: str, start: int, end: int) -> list[Step | None]:
    """Where each quote stands: after the one before it; else where no other is; else anywhere."""
    spans: list[Step | None] = []
    position = start
    for quote in quotes:
        span = locate(quote, text, position, end)
        if span is None:
            places = [*_free(spans, start, position), (start, end)]
            tries = (locate(quote, text, a, b) for a, b in places)
            span = next((found for found in tries if found is not None), None)
        spans.append(span)
        if span is not None:
            position = max(position, span.end)
    return spans


def _free(spans: Sequence[Step | None], start: int, end: int) -> Iterator[tuple[int, int]]:
    """The gaps in ``[start, end)`` that no span covers."""
    position = start
    for span in sorted(span for span in spans if span is not None):
        if span.start > position:
            yield position, span.start
        position = max(position, span.end)
    if position < end:
        yield position, end


def _missing(
    judged: Sequence[Quoted], spans: Sequence[Step | None], text: str, end: int, lenient: bool
) -> list[str]:
    """Sentences about the quotes that stand nowhere in the reasoning."""
    repairs: list[str] = []
    invented: list[str] = []
    for entry, span in enumerate(spans):
        if span is not None:
            continue
        quote = _brief(judged[entry].quote)
        in_answer = judged[entry].quote.strip().removeprefix(_ANSWER_MARK)
        if locate(in_answer, text, end, len(text)) is not None:
            repairs.append(f"dropped step {entry}: it quotes the final answer, which is no step")
        else:
            invented.append(f"the quote of step {entry} does not stand in the solution: {quote!r}")
            repairs.append(f"dropped step {entry}: its quote is not in the text: {quote!r}")
    if invented and not lenient:
        raise Unparseable(invented[0])
    usable = sum(span is not None for span in spans)
    problem = invented[0] if invented else "every quote is of the final answer, none of a step"
    require_usable(usable, usable + len(invented), problem)
    return repairs


def _apart(ordered: Sequence[_Placed], repairs: list[str]) -> tuple[list[_Placed], dict[int, int]]:
    """Spans without overlap; and for each entry that lies inside another one, which."""
    kept: list[_Placed] = []
    inside: dict[int, int] = {}
    for entry, span in ordered:
        before = kept[-1] if kept else None
        if before is None or span.start >= before.span.end:
            kept.append(_Placed(entry, span))
        elif span.end <= before.span.end:
            inside[entry] = before.entry
            repairs.append(f"dropped step {entry}: it lies inside step {before.entry}")
        else:
            kept.append(_Placed(entry, Step(before.span.end, span.end)))
            repairs.append(f"step {entry} overlaps step {before.entry}: kept the rest of it")
    return kept, inside


def _with_gaps(
    kept: Sequence[_Placed], text: str, start: int, end: int
) -> tuple[list[Step], list[int | None]]:
    """A partition of ``[start, end)`` and the entry that each step of it comes from.

    Blanks belong to the step before them; other text that is not quoted is a step of its own.
    """
    steps: list[Step] = []
    of_step: list[int | None] = []
    position = start
    for index, (entry, span) in enumerate(kept):
        if text[position : span.start].strip():
            steps.append(Step(position, span.start))
            of_step.append(None)
            position = span.start
        following = kept[index + 1].span.start if index + 1 < len(kept) else end
        stop = span.end if text[span.end : following].strip() else following
        steps.append(Step(position, stop))
        of_step.append(entry)
        position = stop
    if position < end:
        steps.append(Step(position, end))
        of_step.append(None)
    return steps, of_step


_ELLIPSIS = re.compile(r"\s*(?:\.\.\.|…|\[\.\.\.\])\s*")


def locate(quote: str, text: str, start: int, end: int) -> Step | None:
    """The span of a quote; white space may differ, and the middle may be left out by "..."."""
    quote = defuse(quote).strip()
    if not quote:
        return None
    found = text.find(quote, start, end)
    if found >= 0:
        return Step(found, found + len(quote))
    span = _match_words(quote, text, start, end)
    parts = [part for part in _ELLIPSIS.split(quote) if part]
    if span is None and len(parts) > 1:
        first = _match_words(parts[0], text, start, end)
        last = _match_words(parts[-1], text, first.end, end) if first else None
        span = Step(first.start, last.end) if first and last else None
    return span


def _match_words(quote: str, text: str, start: int, end: int) -> Step | None:
    pattern = r"\s+".join(re.escape(word) for word in quote.split())
    match = re.compile(pattern).search(text, start, end)
    return Step(*match.span()) if match else None


def _brief(quote: str) -> str:
    return quote if len(quote) < _SHOWN_QUOTE else f"{quote[: _SHOWN_QUOTE - 3]}..."
