"""Files of verdicts: recorded reviews, and labels that people wrote."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from apportion.errors import UserError
from apportion.records import parse_lines, read_jsonl
from apportion.trace import Label, Review, StepVerdict


class HumanLabel(BaseModel):
    """One line of a label file. ``step`` counts from 0 in the cut that the review is given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rollout_id: str
    step: int = Field(ge=0)
    label: Label | None = None
    correct: bool | None = None
    depends_on: tuple[int, ...] = ()
    reason: str = ""
    confidence: float | None = Field(default=None, ge=0.0, le=1.0)

    @field_validator("label", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.strip().lower() or None if isinstance(value, str) else value

    @field_validator("depends_on", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        """CSV cells hold "0 2" or "0, 2"."""
        return value.replace(",", " ").split() if isinstance(value, str) else value

    @field_validator("correct", "confidence", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if isinstance(value, str) and not value.strip() else value

    @property
    def verdict(self) -> StepVerdict:
        label = self.label
        if label is None and self.correct is not None:
            label = None if self.correct else "harmful"
        correct = False if self.correct is None and label == "harmful" else self.correct
        return StepVerdict(
            label=label,
            correct=correct,
            depends_on=self.depends_on,
            reason=self.reason,
            confidence=self.confidence,
        )


Labels = dict[str, dict[int, StepVerdict]]


def read_reviews(path: Path) -> list[Review]:
    """The reviews of a ``reviews.jsonl``. Raises UserError at the first line that is none."""
    reviews, complaints = read_jsonl(path, Review)
    if complaints:
        raise UserError(complaints[0])
    if not reviews:
        raise UserError(f"{path} holds no reviews")
    return reviews


def read_labels(path: Path) -> Labels:
    """Verdicts by rollout id and step, from JSONL, or from CSV with a header line; the columns are
    the fields of :class:`HumanLabel`. Recorded reviews are labels too.

    Raises:
        UserError: unreadable file, a wrong line (its number is named), or a step labelled twice.
    """
    labels: Labels = {}
    entries = _csv_entries(path) if path.suffix.lower() == ".csv" else _jsonl_entries(path)
    for where, rollout_id, step, verdict in entries:
        of_rollout = labels.setdefault(rollout_id, {})
        if step in of_rollout:
            raise UserError(f"{where}: step {step} of rollout '{rollout_id}' is labelled twice")
        of_rollout[step] = verdict
    if not labels:
        raise UserError(f"{path} holds no labels")
    return labels


_Entry = tuple[str, str, int, StepVerdict]


def _jsonl_entries(path: Path) -> list[_Entry]:
    def read(number: int, value: dict[str, Any]) -> list[_Entry]:
        where = f"{path}:{number}"
        if "verdicts" in value:
            review = Review.model_validate(value)
            return [(where, review.rollout_id, i, v) for i, v in enumerate(review.verdicts)]
        label = HumanLabel.model_validate(value)
        return [(where, label.rollout_id, label.step, label.verdict)]

    lines, complaints = parse_lines(path, read)
    if complaints:
        raise UserError(complaints[0])
    return [entry for entries in lines for entry in entries]


def _csv_entries(path: Path) -> Iterator[_Entry]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    for number, row in enumerate(rows, start=2):
        cells = {name: value for name, value in row.items() if value not in (None, "")}
        try:
            label = HumanLabel.model_validate(cells)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            given = json.dumps(first["input"], default=str)
            raise UserError(f"{path}:{number}: {field}: {first['msg']}, not {given}") from None
        yield f"{path}:{number}", label.rollout_id, label.step, label.verdict
