"""What a language model answers, and how it becomes verdicts."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from apportion.review.llm_prompt import AnswerForm
from apportion.review.llm_quotes import read_quotes
from apportion.review.llm_reading import Reading, Unparseable, earlier_only, listed, require_usable
from apportion.trace import Label, Step, StepVerdict

__all__ = ["SCHEMAS", "Reading", "Unparseable", "read_answer"]

MAX_CONTENT = 200_000
MAX_OBJECTS = 200
MAX_ARGUMENT = 8000


def _lower(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _or_empty(value: Any) -> Any:
    return "" if value is None else value


def _or_none(value: Any) -> Any:
    return [] if value is None else value


_Text = Annotated[str, BeforeValidator(_or_empty)]


def _share(value: Any) -> Any:
    """Some models state percent however they are asked."""
    is_percent = isinstance(value, int | float) and 1 < value <= 100
    return value / 100 if is_percent else value


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Judged(_Answer):
    """``label`` has to be stated; null means that the reviewer abstains."""

    reason: _Text = ""
    label: Annotated[Label | None, BeforeValidator(_lower)]
    correct: bool | None = None
    depends_on: Annotated[list[int], BeforeValidator(_or_none)] = Field(default_factory=list)
    instead: _Text = ""
    confidence: Annotated[float, Field(ge=0, le=1), BeforeValidator(_share)] | None = None

    def verdict(self, sources: Sequence[int]) -> StepVerdict:
        return StepVerdict(
            label=self.label,
            correct=self.correct,
            depends_on=tuple(sources),
            reason=self.reason,
            instead=self.instead.strip(),
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
    argument: _Text = ""
    steps: list[_JudgedQuote]


class WholeAnswer(_Answer):
    analysis: _Text = ""
    right: bool
    confidence: Annotated[float, Field(ge=0, le=1), BeforeValidator(_share)] | None = None

    @property
    def verdict(self) -> StepVerdict:
        return StepVerdict(
            label="useful" if self.right else "harmful",
            correct=self.right,
            reason=self.analysis,
            confidence=self.confidence,
        )


_FORMS: dict[AnswerForm, type[_Answer]] = {
    "steps": StepsAnswer,
    "wrong": WrongAnswer,
    "free": FreeAnswer,
    "deliberate": FreeAnswer,
    "whole": WholeAnswer,
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


def _steps(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"steps": {"type": "array", "items": _object(properties)}}


# A server that fills in a schema writes the properties in their order: what is to be thought
# about first has to stand first.
SCHEMAS: dict[AnswerForm, dict[str, Any]] = {
    "steps": _object(_steps({"step": {"type": "integer"}, **_JUDGED_SCHEMA})),
    "wrong": _object(
        {
            "analysis": {"type": "string"},
            "wrong_steps": {"type": "array", "items": {"type": "integer"}},
        }
    ),
    "free": _object(_steps({"quote": {"type": "string"}, **_JUDGED_SCHEMA})),
    "deliberate": _object(
        {"argument": {"type": "string"}}
        | _steps(
            {
                "quote": {"type": "string"},
                **_JUDGED_SCHEMA,
                "label": {"type": ["string", "null"], "enum": [*_LABEL_SCHEMA["enum"], None]},
                "instead": {"type": "string"},
            }
        )
    ),
    "whole": _object(
        {
            "analysis": {"type": "string"},
            "right": {"type": "boolean"},
            "confidence": {"type": ["number", "null"]},
        }
    ),
}


def read_answer(
    form: AnswerForm, content: str, text: str, steps: Sequence[Step], *, lenient: bool = False
) -> Reading:
    """The steps and verdicts that a reply gives, and what had to be mended in it. For ``free``
    and ``deliberate`` the reviewer's own cut, which covers the same span as ``steps``, with
    abstaining verdicts where nothing was quoted; for ``whole`` one verdict, the same on each step.

    ``lenient`` (for a reply after which no other is asked for) keeps what is good of an answer
    that leaves out steps, judges one twice or invents some, as long as at least half is good; the
    others abstain.

    Raises:
        Unparseable: no JSON object of the form, steps missing, twice or unknown, or a quote that
            is not in the text.
    """
    answer, before = _find_object(content, _FORMS[form])
    if isinstance(answer, StepsAnswer):
        verdicts, repairs = _given(answer, len(steps), lenient)
        return Reading(tuple(steps), verdicts, repairs)
    if isinstance(answer, WrongAnswer):
        return Reading(tuple(steps), _wrong(answer, len(steps)))
    if isinstance(answer, WholeAnswer):
        return Reading(tuple(steps), (answer.verdict,) * len(steps))
    assert isinstance(answer, FreeAnswer)
    reading = read_quotes(answer.steps, text, steps[0].start, steps[-1].end, lenient=lenient)
    return reading if form == "free" else _with_argument(reading, before, answer.argument)


_FENCE = re.compile(r"```\w*\s*\Z")


def _with_argument(reading: Reading, before: str, stated: str) -> Reading:
    """Without a schema a model argues in front of its JSON rather than in it; both count."""
    parts = [_FENCE.sub("", before).strip(), stated.strip()]
    argument = "\n\n".join(part for part in parts if part)
    repairs = reading.repairs
    if len(argument) > MAX_ARGUMENT:
        repairs += (f"kept {MAX_ARGUMENT} of the {len(argument)} characters of the argument",)
        argument = argument[:MAX_ARGUMENT]
    return reading._replace(argument=argument, repairs=repairs)


_A = TypeVar("_A", bound=_Answer)


def _find_object(content: str, form: type[_A]) -> tuple[_A, str]:
    """The last JSON object in the reply that has the form, and the text before it; what is
    around it, and drafts before it, do not matter."""
    if not content.strip():
        raise Unparseable("the reply was empty")
    if len(content) > MAX_CONTENT:
        raise Unparseable(f"the reply was longer than {MAX_CONTENT} characters")
    decoder = json.JSONDecoder()
    found: _A | None = None
    position, began, problem = 0, 0, "there was no complete JSON object in the reply"
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
            found, began = form.model_validate(value), position
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
    return found, content[:began]


def _given(
    answer: StepsAnswer, count: int, lenient: bool
) -> tuple[tuple[StepVerdict, ...], tuple[str, ...]]:
    said: dict[int, list[_JudgedStep]] = defaultdict(list)
    for judged in answer.steps:
        said[judged.step].append(judged)
    problems, repairs = _misnumbered(said, count)
    one: dict[int, _JudgedStep] = {}
    for step, of_step in said.items():
        if len({(judged.label, judged.correct) for judged in of_step}) == 1:
            one[step] = of_step[0]
    if problems and not lenient:
        raise Unparseable(problems[0])
    inside = [step for step in range(count) if step in one]
    if problems:
        # Numbers from 1 to the count are all of the steps, each verdict beside its step.
        counted_from_one = 0 not in said and count in said
        require_usable(0 if counted_from_one else len(inside), count, problems[0])
    stated = [one[step].depends_on if step in one else [] for step in range(count)]
    sources, dropped = earlier_only(stated, range(count))
    verdicts = tuple(
        one[step].verdict(sources[step]) if step in one else StepVerdict() for step in range(count)
    )
    return verdicts, listed([*repairs, *dropped])


def _misnumbered(
    said: Mapping[int, Sequence[_JudgedStep]], count: int
) -> tuple[list[str], list[str]]:
    """What is wrong with the numbers of the steps, told to the model and told to the reader."""
    problems: list[str] = []
    repairs: list[str] = []
    for step, of_step in sorted(said.items()):
        if not 0 <= step < count:
            problems.append(f"there is no step {step}, only 0 to {count - 1}")
            repairs.append(f"dropped the verdict on step {step}: there is no such step")
        elif len(of_step) > 1:
            problems.append(f"step {step} was judged twice")
            same = len({(judged.label, judged.correct) for judged in of_step}) == 1
            left = "kept one of them" if same else "they differ, so it counts as not judged"
            repairs.append(f"step {step} was judged {len(of_step)} times: {left}")
    missing = [step for step in range(count) if step not in said]
    if missing:
        shown = ", ".join(map(str, missing[:20])) + (", ..." if len(missing) > 20 else "")
        problems.append(f"no verdict on step {shown}")
        repairs.append(f"no verdict on step {shown}: counts as not judged")
    return problems, repairs


def _wrong(answer: WrongAnswer, count: int) -> tuple[StepVerdict, ...]:
    """A step that is not listed is correct; whether it was of use was not asked."""
    unknown = [step for step in answer.wrong_steps if not 0 <= step < count]
    if unknown:
        raise Unparseable(f"there is no step {unknown[0]}, only 0 to {count - 1}")
    wrong = StepVerdict(label="harmful", correct=False, reason=answer.analysis)
    return tuple(
        wrong if step in answer.wrong_steps else StepVerdict(correct=True) for step in range(count)
    )
