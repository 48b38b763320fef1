"""One row of a foreign file, as one rollout or several.

Text from elsewhere has no token ids that are known here, so its white-space delimited words stand
in for tokens: ``token_spans`` holds the words' spans and ``token_ids`` is 0, 1, 2, ... Credit
methods then give one number per word.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from apportion.errors import UserError, nearest
from apportion.imports.messages import flatten_messages
from apportion.segment.answer_line import find_reasoning_end, labelled_answer, word_spans
from apportion.tasks.answers import extract_answer, same_answer
from apportion.trace import Problem, Rollout

TARGETS = ("prompt", "completion", "answer", "outcome", "id", "policy", "group", "update")

Row = Mapping[str, Any]


def check_map(map: Mapping[str, str] | None) -> dict[str, str]:
    """Column renames, checked. Raises UserError for an unknown field or one named twice."""
    renames = dict(map or {})
    for source, target in renames.items():
        if target not in TARGETS:
            raise UserError(
                f"--map {source}={target}: unknown field '{target}'"
                f"{nearest(target, list(TARGETS))}; fields are {', '.join(TARGETS)}"
            )
    if len(set(renames.values())) < len(renames):
        raise UserError("--map: two columns map to one field")
    return renames


def rename(row: Row, renames: Mapping[str, str]) -> dict[str, Any]:
    """The row under its new names; a column that a renamed one displaces is dropped.

    Raises ValueError for a column that the row lacks.
    """
    for source in renames:
        if source not in row:
            raise ValueError(f"no column '{source}'{nearest(source, list(row))}")
    taken = set(renames.values())
    return {renames.get(key, key): row[key] for key in row if key in renames or key not in taken}


def rollout_of(default_id: str, row: Row) -> Rollout:
    """The rollout of a row with ``prompt`` and ``completion``.

    Where the row has an ``answer`` and no ``outcome``, the outcome is whether the answer that the
    completion marks equals it, and undecided where it marks none. Raises ValueError.
    """
    for name in ("prompt", "completion"):
        if name not in row:
            raise ValueError(
                f"no column '{name}'; there are {', '.join(row) or 'none'}: "
                f"say which it is by --map COLUMN={name}"
            )
    prompt = flatten_messages(row["prompt"], "prompt")
    digest = hashlib.blake2b(prompt.encode(), digest_size=6).hexdigest()
    problem = Problem(id=f"prompt-{digest}", prompt=prompt, answers=_answers(row.get("answer")))
    update = _update(row.get("update"))
    # The completions of one prompt are a group; a later update's are another group.
    group = problem.id if update is None else f"{problem.id}@{update}"
    given = row.get("id")
    text = flatten_messages(row["completion"], "completion")
    outcome = _outcome(row["outcome"]) if "outcome" in row else _scored(problem.answers, text)
    return _rollout(
        default_id if given is None else str(given),
        problem,
        text,
        outcome,
        policy=str(row.get("policy") or ""),
        group=str(row.get("group") or group),
        update=update,
        meta={key: _jsonable(value) for key, value in row.items() if key not in TARGETS},
    )


def solution_models(row: Row) -> list[str]:
    """Model names of a line of GSM8K's published solutions; empty for any other line."""
    if not {"question", "ground_truth"} <= row.keys():
        return []
    return [
        key
        for key, value in row.items()
        if isinstance(value, dict) and isinstance(value.get("solution"), str)
    ]


def solutions_of(number: int, row: Row, models: Sequence[str]) -> Iterator[Rollout]:
    """One rollout for each model's solution, with the model's name as its policy."""
    gold = _marked_answer(row["ground_truth"])
    problem = Problem(id=f"gsm8k-{number}", prompt=row["question"], answers=(gold,) if gold else ())
    for model in models:
        outcome = _outcome(row[model].get("is_correct"))
        text = row[model]["solution"]
        yield _rollout(
            f"{problem.id}-{model}", problem, text, outcome, policy=model, group=problem.id
        )


def _marked_answer(text: str) -> str | None:
    return extract_answer(text) or labelled_answer(text)


def _scored(answers: Sequence[str], text: str) -> float | None:
    """1 or 0; None without a readable gold answer or without a marked one in the text.

    A gold answer may be a whole solution that marks its own answer, as in GSM8K's files.
    """
    marked = _marked_answer(text)
    if marked is None:
        return None
    verdicts = [same_answer(_marked_answer(gold) or gold, marked) for gold in answers]
    if True in verdicts:
        return 1.0
    return 0.0 if False in verdicts else None


def _rollout(name: str, problem: Problem, text: str, outcome: float | None, **more: Any) -> Rollout:
    spans = word_spans(text)
    return Rollout(
        id=name,
        problem=problem,
        text=text,
        token_ids=tuple(range(len(spans))),
        token_spans=spans,
        outcome=outcome,
        reasoning_end=find_reasoning_end(text),
        **more,
    )


def _answers(value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list | tuple) else [] if value is None else [value]
    for answer in values:
        if isinstance(answer, bool) or not isinstance(answer, str | int | float):
            raise ValueError(f"answer: text or a number is needed, not {type(answer).__name__}")
    return tuple(str(answer) for answer in values)


def _outcome(value: Any) -> float | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, bool | int | float) or math.isinf(value):
        raise ValueError(f"outcome: a finite number, true, false or null is needed, not {value!r}")
    return float(value)


def _update(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"update: a whole number is needed, not {value!r}")
    return value


def _jsonable(value: Any) -> Any:
    """Other columns as JSON can hold them: bytes by their number, unknown types by their text."""
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return f"{len(value)} bytes" if isinstance(value, bytes) else str(value)
