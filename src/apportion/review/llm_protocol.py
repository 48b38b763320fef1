"""What a language model answers, and how it becomes verdicts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from apportion.review.llm_prompt import AnswerForm, defuse
from apportion.trace import Label, Step, StepVerdict

MAX_CONTENT = 200_000
MAX_OBJECTS = 200
Cut = tuple[tuple[Step, ...], tuple[StepVerdict, ...]]


class Unparseable(ValueError):
    """The reply is no usable answer; the message is written for the model that gave it."""


def _lower(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _share(value: Any) -> Any:
    """Some models state percent however they are asked."""
    is_percent = isinstance(value, int | float) and 1 < value <= 100
    return value / 100 if is_percent else value


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Judged(_Answer):
    reason: str = ""
    label: Annotated[Label, BeforeValidator(_lower)]
    correct: bool | None = None
    depends_on: list[int] = Field(default_factory=list)
    confidence: Annotated[float, Field(ge=0, le=1), BeforeValidator(_share)] | None = None

    def verdict(self, sources: Sequence[int]) -> StepVerdict:
        return StepVerdict(
            label=self.label,
            correct=self.correct,
            depends_on=tuple(sources),
            reason=self.reason,
            confidence=self.confidence,
        )


class _JudgedStep(_Judged):
    step: int


class _JudgedQuote(_Judged):
    quote: str


class StepsAnswer(_Answer):
    steps: list[_JudgedStep]


class WrongAnswer(_Answer):
    analysis: str = ""
    wrong_steps: list[int]


class FreeAnswer(_Answer):
    steps: list[_JudgedQuote]


_FORMS: dict[AnswerForm, type[_Answer]] = {
    "steps": StepsAnswer,
    "wrong": WrongAnswer,
    "free": FreeAnswer,
}
_LABEL_SCHEMA = {"type": "string", "enum": ["useful", "irrelevant", "harmful"]}
_JUDGED_SCHEMA = {
    "reason": {"type": "string"},
    "label": _LABEL_SCHEMA,
    "correct": {"type": ["boolean", "null"]},
    "depends_on": {"type": "array", "items": {"type": "integer"}},
    "confidence": {"type": ["number", "null"]},
}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    # Strict structured output wants every property required and no others.
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _listed(first: Mapping[str, Any]) -> dict[str, Any]:
    items = _object({**first, **_JUDGED_SCHEMA})
    return _object({"steps": {"type": "array", "items": items}})


SCHEMAS: dict[AnswerForm, dict[str, Any]] = {
    "steps": _listed({"step": {"type": "integer"}}),
    "wrong": _object(
        {
            "analysis": {"type": "string"},
            "wrong_steps": {"type": "array", "items": {"type": "integer"}},
        }
    ),
    "free": _listed({"quote": {"type": "string"}}),
}


def read_answer(form: AnswerForm, content: str, text: str, steps: Sequence[Step]) -> Cut:
    """The steps and verdicts that a reply gives; for ``free`` the reviewer's own cut, which
    covers the same span as ``steps``, with abstaining verdicts where nothing was quoted.

    Raises:
        Unparseable: no JSON object of the form, steps missing, twice or unknown, or a quote that
            is not in the text.
    """
    answer = _find_object(content, _FORMS[form])
    if isinstance(answer, StepsAnswer):
        return tuple(steps), _given(answer, len(steps))
    if isinstance(answer, WrongAnswer):
        return tuple(steps), _wrong(answer, len(steps))
    assert isinstance(answer, FreeAnswer)
    return _located(answer, text, steps[0].start, steps[-1].end)


_A = TypeVar("_A", bound=_Answer)


def _find_object(content: str, form: type[_A]) -> _A:
    """The last JSON object in the reply that has the form; text and code fences around it, and
    drafts before it, do not matter."""
    if not content.strip():
        raise Unparseable("the reply was empty")
    if len(content) > MAX_CONTENT:
        raise Unparseable(f"the reply was longer than {MAX_CONTENT} characters")
    decoder = json.JSONDecoder()
    position, found, problem = 0, None, "there was no complete JSON object in the reply"
    outer_end = 0
    for _ in range(MAX_OBJECTS):
        position = content.find("{", position)
        if position < 0:
            break
        try:
            value, end = decoder.raw_decode(content, position)
        except (json.JSONDecodeError, RecursionError):
            position += 1
            continue
        try:
            found = form.model_validate(value)
            position = end
        except ValidationError as error:
            if end > outer_end:
                outer_end = end
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"])
                problem = f"{where}: {first['msg']}"
            # The wanted object may be inside this one, wrapped in a key of the model's own.
            position += 1
    if found is None:
        raise Unparseable(problem)
    return found


def _given(answer: StepsAnswer, count: int) -> tuple[StepVerdict, ...]:
    by_step: dict[int, _JudgedStep] = {}
    for judged in answer.steps:
        if not 0 <= judged.step < count:
            raise Unparseable(f"there is no step {judged.step}, only 0 to {count - 1}")
        if judged.step in by_step:
            raise Unparseable(f"step {judged.step} was judged twice")
        by_step[judged.step] = judged
    missing = [step for step in range(count) if step not in by_step]
    if missing:
        raise Unparseable(f"no verdict on step {', '.join(map(str, missing[:20]))}")
    return tuple(
        by_step[step].verdict(sorted({d for d in by_step[step].depends_on if 0 <= d < step}))
        for step in range(count)
    )


def _wrong(answer: WrongAnswer, count: int) -> tuple[StepVerdict, ...]:
    """A step that is not listed is correct; whether it was of use was not asked."""
    unknown = [step for step in answer.wrong_steps if not 0 <= step < count]
    if unknown:
        raise Unparseable(f"there is no step {unknown[0]}, only 0 to {count - 1}")
    wrong = StepVerdict(label="harmful", correct=False, reason=answer.analysis)
    return tuple(
        wrong if step in answer.wrong_steps else StepVerdict(correct=True) for step in range(count)
    )


def _located(answer: FreeAnswer, text: str, start: int, end: int) -> Cut:
    """Find each quote after the one before it, and fill the gaps with abstentions."""
    if not answer.steps:
        raise Unparseable("the list of steps is empty")
    shown = defuse(text)
    spans: list[Step] = []
    position = start
    for index, judged in enumerate(answer.steps):
        span = _locate(judged.quote, shown, position, end)
        if span is None:
            quote = judged.quote if len(judged.quote) < 80 else f"{judged.quote[:77]}..."
            raise Unparseable(
                f"the quote of step {index} does not stand in the solution after the one before "
                f"it: {quote!r}"
            )
        spans.append(span)
        position = span.end
    return _fill_gaps(answer.steps, spans, shown, start, end)


def _fill_gaps(
    judged: Sequence[_JudgedQuote], spans: Sequence[Step], text: str, start: int, end: int
) -> Cut:
    steps: list[Step] = []
    verdicts: list[StepVerdict] = []
    place: list[int] = []  # of the k-th quote among the steps
    position = start
    for index, (span, said) in enumerate(zip(spans, judged, strict=True)):
        if text[position : span.start].strip():
            steps.append(Step(position, span.start))
            verdicts.append(StepVerdict())
            position = span.start
        following = spans[index + 1].start if index + 1 < len(spans) else end
        rest = text[span.end : following]
        stop = following if not rest.strip() else span.end
        sources = sorted({place[d] for d in said.depends_on if 0 <= d < index})
        place.append(len(steps))
        steps.append(Step(position, stop))
        verdicts.append(said.verdict(sources))
        position = stop
    if position < end:
        steps.append(Step(position, end))
        verdicts.append(StepVerdict())
    return tuple(steps), tuple(verdicts)


_ELLIPSIS = re.compile(r"\s*(?:\.\.\.|…|\[\.\.\.\])\s*")


def _locate(quote: str, text: str, start: int, end: int) -> Step | None:
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
