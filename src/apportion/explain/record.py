"""One record of a run or of a file, with everything that was recorded about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apportion.errors import UserError, nearest
from apportion.imports import read_traces
from apportion.records import read_jsonl
from apportion.report.data import Part, Run, load_run
from apportion.report.voting import consensus_options
from apportion.trace import Credit, Review, Rollout

SHOWN = 4  # candidates that an error names
_CHECKPOINTS = ("final", "best")


@dataclass(frozen=True)
class Found:
    """A rollout with its reviews and recorded credit, and the completions that it is compared with
    (``group``, itself among them, with all their reviews).

    ``config`` is the configuration of the part it comes from, empty for a file; ``checkpoint`` is
    the newest model that the part saved.
    """

    name: str
    rollout: Rollout
    reviews: tuple[Review, ...] = ()
    credit: Mapping[str, Credit] = field(default_factory=dict)
    group: tuple[Rollout, ...] = ()
    group_reviews: tuple[Review, ...] = ()
    voting: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: Path | None = None
    complaints: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Candidate:
    label: str
    row: int
    rollout: Rollout
    part: Part | None

    @property
    def name(self) -> str:
        return f"{self.label}/{self.rollout.id}" if self.label else self.rollout.id


def find_record(source: Path | str, record: str, *, map: Mapping[str, str] | None = None) -> Found:
    """The record of a run directory or a file of traces that ``record`` names: by its id, by the
    beginning of it, or by its row, counted from 1. In a run of several arms an id may stand behind
    the arm's name (``dca-s0/u30/0/0``), and must where several arms have it.

    Raises UserError: nothing can be read there, no such record, or several.
    """
    source = Path(source)
    if source.is_dir() and (
        any(source.glob("rollouts.jsonl")) or any(source.glob("*/rollouts.jsonl"))
    ):
        run = load_run(source)
        candidates = _of_run(run)
        found = _with_records(_pick(record, candidates, source), candidates, run)
        return found
    rollouts, complaints = read_traces(source, map=map)
    candidates = [_Candidate("", row, r, None) for row, r in enumerate(rollouts, 1)]
    return _beside(_pick(record, candidates, source), candidates, source, complaints)


def _of_run(run: Run) -> list[_Candidate]:
    found = []
    for part in run.parts:
        label = part.label if part.path != run.path else ""
        for rollout in run.read(part, "rollouts"):
            found.append(_Candidate(label, len(found) + 1, rollout, part))
    return found


def _pick(record: str, candidates: Sequence[_Candidate], source: Path) -> _Candidate:
    if not candidates:
        raise UserError(f"{source}: no trace in it")
    exact = [c for c in candidates if record in (c.name, c.rollout.id)]
    begun = [c for c in candidates if c.name.startswith(record) or c.rollout.id.startswith(record)]
    of_row = [c for c in candidates if record.removeprefix("#") == str(c.row)]
    for matching in (exact, of_row if record.startswith("#") else begun, of_row):
        if len(matching) == 1:
            return matching[0]
        if matching:
            names = ", ".join(c.name for c in matching[:SHOWN])
            more = f" and {len(matching) - SHOWN} more" if len(matching) > SHOWN else ""
            raise UserError(f"{source}: '{record}' may be {names}{more}: write more of the name")
    names = [c.name for c in candidates]
    close = nearest(record, [*names, *(c.rollout.id for c in candidates)])
    raise UserError(
        f"{source}: no record '{record}'{close}; it holds {len(candidates):,}, from "
        f"'{names[0]}' on: give an id, the beginning of one, or a row number"
    )


def _together(chosen: _Candidate, candidates: Sequence[_Candidate]) -> tuple[Rollout, ...]:
    """The completions of the same prompt at the same time, which credit methods compare."""
    rollout = chosen.rollout
    key = rollout.group or rollout.problem.id
    return tuple(
        c.rollout
        for c in candidates
        if c.part is chosen.part
        and (c.rollout.group or c.rollout.problem.id) == key
        and c.rollout.update == rollout.update
    )


def _with_records(chosen: _Candidate, candidates: Sequence[_Candidate], run: Run) -> Found:
    part = chosen.part
    assert part is not None
    group = _together(chosen, candidates)
    ids = {rollout.id for rollout in group}
    reviews = _last_of_each(r for r in run.read(part, "reviews") if r.rollout_id in ids)
    credit = {c.method: c for c in run.read(part, "credit") if c.rollout_id == chosen.rollout.id}
    return Found(
        name=chosen.name,
        rollout=chosen.rollout,
        reviews=tuple(r for r in reviews if r.rollout_id == chosen.rollout.id),
        credit=credit,
        group=group,
        group_reviews=reviews,
        voting=consensus_options(run, part),
        config=part.config or run.config,
        checkpoint=_checkpoint(part.path),
        complaints=tuple(run.complaints),
    )


def _beside(
    chosen: _Candidate, candidates: Sequence[_Candidate], source: Path, complaints: Sequence[str]
) -> Found:
    """A record of a file; reviews are looked for only beside a ``rollouts.jsonl`` of ours."""
    group = _together(chosen, candidates)
    ids = {rollout.id for rollout in group}
    file = source.parent / "reviews.jsonl"
    reviews: tuple[Review, ...] = ()
    if source.name == "rollouts.jsonl" and file.is_file():
        read, unreadable = read_jsonl(file, Review)
        complaints = [*complaints, *unreadable]
        reviews = _last_of_each(r for r in read if r.rollout_id in ids)
    return Found(
        name=chosen.name,
        rollout=chosen.rollout,
        reviews=tuple(r for r in reviews if r.rollout_id == chosen.rollout.id),
        group=group,
        group_reviews=reviews,
        complaints=tuple(complaints),
    )


def _last_of_each(reviews: Any) -> tuple[Review, ...]:
    """A review that was tried again replaces the one before."""
    return tuple({(r.rollout_id, r.reviewer, r.critique): r for r in reviews}.values())


def _checkpoint(part: Path) -> Path | None:
    folders = [part / "checkpoints" / name for name in _CHECKPOINTS]
    return next((folder for folder in folders if (folder / "config.json").is_file()), None)
