"""What the stages share: reading their input, opening their output, writing its page."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from apportion.cli.console import complain, note, plural
from apportion.cli.specs import parse_map, parse_spec
from apportion.config import ConsensusConfig
from apportion.consensus import Voting
from apportion.errors import UserError
from apportion.imports import read_traces
from apportion.records import RunDirectory, read_jsonl, reason
from apportion.trace import Review, Rollout


@dataclass(frozen=True)
class Input:
    """Records that a stage starts from, and what could not be read."""

    rollouts: list[Rollout]
    reviews: list[Review]
    complaints: list[str]


def read_input(sources: Sequence[Path], renames: Sequence[str]) -> Input:
    """Rollouts of all sources, and the reviews that lie beside rollouts of ours.

    Raises UserError where a source cannot be read, or where two of them share an id.
    """
    columns = parse_map(list(renames))
    rollouts: dict[str, Rollout] = {}
    reviews: list[Review] = []
    complaints: list[str] = []
    origin: dict[str, Path] = {}
    for source in sources:
        found, unreadable = read_traces(source, map=columns)
        complaints += unreadable
        for rollout in found:
            if rollout.id in rollouts:
                raise UserError(
                    f"id '{rollout.id}' occurs in {origin[rollout.id]} and in {source}: "
                    "work on them one at a time"
                )
            rollouts[rollout.id], origin[rollout.id] = rollout, source
        beside = _reviews_beside(source)
        if beside is not None:
            more, unreadable = read_jsonl(beside, Review)
            reviews += [review for review in more if review.rollout_id in rollouts]
            complaints += unreadable
    complain(complaints)
    return Input(list(rollouts.values()), reviews, complaints)


def require_reviews(given: Input, source: Path, who: str) -> None:
    """Raises UserError where there is no review."""
    if not given.reviews:
        raise UserError(
            f"{source}: {who} needs reviews and there are none: first run "
            f"'apportion review {source} --reviewer arithmetic'"
        )


def _reviews_beside(source: Path) -> Path | None:
    folder = source if source.is_dir() else source.parent
    ours = source.is_dir() or source.name == "rollouts.jsonl"
    file = folder / "reviews.jsonl"
    return file if ours and file.is_file() else None


def default_out(verb: str, sources: Sequence[Path]) -> Path:
    """``runs/VERB-NAME``, with the name of the first source."""
    first = sources[0].resolve()
    return Path("runs") / f"{verb}-{first.name if first.is_dir() else first.stem}"


def open_stage(
    out: Path, settings: Mapping[str, Any], complaints: Sequence[str], *, resume: bool, clean: bool
) -> RunDirectory:
    """The stage's run directory with its manifest and configuration written.

    Raises UserError where it is in use, or was begun with other settings.
    """
    run = RunDirectory(out, resume=resume, clean=clean)
    try:
        complain(run.complaints)
        run.write_config(settings)
        run.write_manifest(sys.argv, complaints=list(complaints))
    except BaseException:
        run.close()
        raise
    return run


def voting(spec: str | None, sources: Sequence[Path]) -> dict[str, Any]:
    """Options of the vote: those given, else those of the first source's run, else the defaults.

    Raises UserError for a wrong rule or option.
    """
    options = parse_spec(spec, "rule") if spec is not None else _voting_of_run(sources[0])
    try:
        votes = ConsensusConfig.model_validate(options).model_dump(mode="json")
    except ValidationError as error:
        raise UserError(f"consensus: {reason(error)}") from None
    Voting(**votes)
    return votes


def _voting_of_run(source: Path) -> dict[str, Any]:
    file = (source if source.is_dir() else source.parent) / "config.yaml"
    if not file.is_file():
        return {}
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    found = config.get("consensus") if isinstance(config, dict) else None
    return found if isinstance(found, dict) else {}


def write_page(out: Path) -> Path:
    """``report.html`` of the directory; its path."""
    from apportion.report import write_report

    return write_report(out)


def copy_records(run: RunDirectory, given: Input, without: Collection[str] = ()) -> None:
    """Copy the input's records that the directory lacks, so that it stands for itself; but no
    review by a reviewer in ``without``, which is about to be asked itself."""
    present = run.ids("rollouts")
    run.append("rollouts", *(r for r in given.rollouts if r.id not in present))
    present = run.ids("reviews")
    for review in given.reviews:
        if review.reviewer in without:
            continue
        if (review.rollout_id, review.reviewer, review.critique) not in present:
            run.append("reviews", review)
    note(f"{plural(len(given.rollouts), 'trace')} in {run.path}")
