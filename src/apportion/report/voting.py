"""The votes that a page shows: taken again from the recorded reviews, as the run took them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from apportion.consensus import Case, Voting, consensus_of_many
from apportion.errors import UserError
from apportion.report.data import Part, Run
from apportion.trace import Consensus, Review, Rollout

_OPTIONS = tuple(f.name for f in fields(Voting))


def consensus_options(run: Run, part: Part) -> dict[str, Any]:
    """How the part voted, from its configuration; the package's defaults where it does not say."""
    given = part.config.get("consensus", run.config.get("consensus"))
    if isinstance(given, str):
        return {"rule": given}
    if not isinstance(given, Mapping):
        return {}
    return {key: given[key] for key in _OPTIONS if given.get(key) is not None}


def vote_all(
    run: Run,
    part: Part,
    pairs: Sequence[tuple[Rollout, Sequence[Review]]],
    options: Mapping[str, Any] | None = None,
) -> list[Consensus]:
    """The consensus of each rollout's reviews, by these options or those of the configuration;
    what this version cannot use of the latter is noted.

    Raises UserError for given options that cannot be used.
    """
    if options is None and _learns_weights(run, part):
        _note_once(run, "Votes are shown with the configured weights; training learned others.")
    cases = [Case(rollout.id, reviews, rollout.reasoning_end) for rollout, reviews in pairs]
    if options is not None:
        return consensus_of_many(cases, **options)
    try:
        return consensus_of_many(cases, **consensus_options(run, part))
    except (UserError, TypeError, ValueError) as error:
        _note_once(run, f"Consensus options of config.yaml not used: {error}.")
        return consensus_of_many(cases)


def _learns_weights(run: Run, part: Part) -> bool:
    section = part.config.get("metalearning", run.config.get("metalearning"))
    return isinstance(section, Mapping) and bool(section.get("every"))


def _note_once(run: Run, note: str) -> None:
    if note not in run.notes:
        run.notes.append(note)
