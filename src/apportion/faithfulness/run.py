"""Measures over many rollouts: budgeted, resumable, and no longer than the interval needs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from apportion.errors import UserError
from apportion.faithfulness.base import Measure
from apportion.faithfulness.subject import Subject
from apportion.stats import Estimate
from apportion.trace import Probe, Rollout

# An interval over fewer problems than this is not to be trusted to stop by.
FEWEST = 16
_AT_ONCE = 8


class Outcome(NamedTuple):
    """Why a measure stopped (empty: everything was measured) and what it found."""

    stopped: str
    figures: dict[str, Estimate]


def probe_all(
    subject: Subject,
    measures: Sequence[Measure],
    rollouts: Sequence[Rollout],
    *,
    done: Mapping[str, Sequence[Probe]],
    write: Callable[[Probe], None],
    until: float | None = None,
    budget: int | None = None,
) -> dict[str, Outcome]:
    """Measure what is not yet ``done`` (probes by measure), handing each probe to ``write`` as
    soon as it is there.

    A measure stops as soon as its headline's 95 % interval is at most ``until`` to either side on
    average, over at least :data:`FEWEST` problems; all stop before a batch that would take the
    tokens of ``done`` and new probes past ``budget``.
    """
    spent = sum(probe.tokens for probes in done.values() for probe in probes)
    found: dict[str, Outcome] = {}
    for measure in measures:
        probes = list(done.get(measure.name, ()))
        left = missing(rollouts, probes)
        stopped = ""
        for start in range(0, len(left), _AT_ONCE):
            if until is not None and narrow(measure, probes, until):
                stopped = "interval"
                break
            batch = left[start : start + _AT_ONCE]
            if budget is not None and spent + measure.estimate(subject, batch) > budget:
                stopped = "budget"
                break
            for probe in measured(measure, subject, batch):
                write(probe)
                probes.append(probe)
                spent += probe.tokens
        found[measure.name] = Outcome(stopped, measure.summarise(probes))
    return found


def estimate_all(
    subject: Subject,
    measures: Iterable[Measure],
    rollouts: Sequence[Rollout],
    done: Mapping[str, Sequence[Probe]],
) -> dict[str, int]:
    """Tokens that each measure still takes at most."""
    return {
        measure.name: sum(
            _estimate(measure, subject, rollout)
            for rollout in missing(rollouts, done.get(measure.name, ()))
        )
        for measure in measures
    }


def missing(rollouts: Sequence[Rollout], probes: Collection[Probe]) -> list[Rollout]:
    """Rollouts that have no probe yet."""
    present = {(probe.rollout_id, probe.update) for probe in probes}
    return [r for r in rollouts if (r.id, r.update) not in present]


def measured(measure: Measure, subject: Subject, rollouts: Sequence[Rollout]) -> list[Probe]:
    """One probe each. Where the policy refuses a batch (a chain that is too long for its context)
    every rollout is tried by itself, and the reason stands in the probe of the one at fault."""
    spent = subject.tokens
    try:
        probes = measure.measure(subject, rollouts)
    except UserError as error:
        if len(rollouts) == 1:
            return [measure.failed(rollouts[0], str(error))]
        return [p for rollout in rollouts for p in measured(measure, subject, [rollout])]
    each, rest = divmod(subject.tokens - spent, max(len(probes), 1))
    return [
        probe.model_copy(update={"tokens": each + (rest if place == 0 else 0)})
        for place, probe in enumerate(probes)
    ]


def narrow(measure: Measure, probes: Sequence[Probe], until: float) -> bool:
    """Whether the headline's interval is narrow enough to stop."""
    found = measure.summarise(probes).get("value")
    if found is None or found.low is None or found.high is None or found.n < FEWEST:
        return False
    if found.low == found.high:
        # Equal values have no spread to resample: three in n may still be otherwise, at 95 %.
        return 3 / found.n <= until
    return (found.high - found.low) / 2 <= until


def _estimate(measure: Measure, subject: Subject, rollout: Rollout) -> int:
    try:
        return measure.estimate(subject, [rollout])
    except UserError:
        return 0  # it will be refused, which costs nothing
