"""Where the reviewers of a run agree: by task and difficulty, as numbers and as a figure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apportion.consensus.boundary import (
    TENTATIVE,
    Agreement,
    Boundary,
    Level,
    agreement_by,
    boundary_of,
)
from apportion.consensus.levels import key_by, usual_keys
from apportion.report.curves import ticks
from apportion.report.data import Run
from apportion.report.traces import Collected
from apportion.report.voting import vote_all
from apportion.report.wording import fixed, number
from apportion.stats import Estimate
from apportion.trace import Consensus, Review, Rollout

LONGEST_NAME = 14
WIDTH, HEIGHT = 380, 230
LEFT, RIGHT, TOP, BOTTOM = 44.0, 368.0, 10.0, 176.0


@dataclass(frozen=True)
class Reliability:
    """Agreement by one key (``""``: over all), and where it breaks down."""

    key: str
    levels: list[Agreement]
    boundary: Boundary | None

    @property
    def sentence(self) -> str:
        """Where it breaks down, in words; empty where the levels have no order."""
        found = self.boundary
        if found is None:
            return ""
        if found.first is None:
            return f"Alpha is at least {fixed(TENTATIVE)} at every level of {self.key}."
        upto = "at no level" if found.last is None else f"up to {self.key} {shown(found.last)}"
        sure = "with its whole interval" if found.clear else "but not with its whole interval"
        return (
            f"Alpha is at least {fixed(TENTATIVE)} {upto}; at {self.key} {shown(found.first)} it "
            f"is below, {sure}."
        )


def reliability(
    run: Run, keys: Sequence[str] | None = None, options: Mapping[str, Any] | None = None
) -> list[Reliability]:
    """Agreement over all traces of the run that several votes were cast on, and by each key; the
    usual ones where none is given. ``options`` of the vote default to the run's own. Empty where
    nothing was judged twice.

    Raises UserError for a key that no trace has.
    """
    rollouts, voted = _judged_twice(run, options)
    overall = agreement_by(rollouts, voted)
    if not overall:
        return []
    found = [Reliability("", overall, None)]
    for key in usual_keys(rollouts) if keys is None else keys:
        levels = agreement_by(rollouts, voted, key_by(key, rollouts))
        found.append(Reliability(key, levels, boundary_of(levels)))
    return found


def _judged_twice(
    run: Run, options: Mapping[str, Any] | None
) -> tuple[list[Rollout], list[Consensus]]:
    rollouts: list[Rollout] = []
    voted: list[Consensus] = []
    for part in run.parts:
        reviews: dict[str, dict[tuple[str, int], Review]] = defaultdict(dict)
        for review in run.read(part, "reviews"):
            reviews[review.rollout_id][review.reviewer, review.critique] = review
        several = {name for name, own in reviews.items() if sum(r.ok for r in own.values()) > 1}
        if not several:
            continue
        pairs = {
            rollout.id: (rollout, list(reviews[rollout.id].values()))
            for rollout in run.read(part, "rollouts")
            if rollout.id in several
        }
        voted += vote_all(run, part, list(pairs.values()), options)
        # The parts of a run repeat their names; levels are looked up by them.
        named = [r.model_copy(update={"id": f"{part.label}/{r.id}"}) for r, _ in pairs.values()]
        rollouts += named
    return rollouts, voted


def several_reviewers(collected: Collected) -> bool:
    """Whether some part of the run may hold two reviews of one trace, by what was counted."""
    by_part: dict[str, int] = defaultdict(int)
    for part, _ in collected.tallies:
        by_part[part] += 1
    return any(count > 1 for count in by_part.values())


def shown(level: Level) -> str:
    """A level as it is written beside an axis."""
    text = level if isinstance(level, str) else number(level, 5)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


# -- the figure ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    """A value with its interval in user units of the view box; ``name`` is its level."""

    x: float
    y: float
    low: float | None
    high: float | None
    name: str
    n: str


@dataclass(frozen=True)
class Plot:
    """One measure over the levels of one key, ready to be drawn."""

    title: str
    axis: str
    bars: list[Bar]
    y_ticks: list[tuple[float, str]]
    threshold: float | None
    width: int = WIDTH
    height: int = HEIGHT
    left: float = LEFT
    right: float = RIGHT
    bottom: float = BOTTOM


def plots(found: Sequence[Reliability]) -> list[tuple[Reliability, list[Plot]]]:
    """Alpha and the agreed share over each key with two levels or more."""
    drawn = []
    for by_key in found:
        if by_key.key and len(by_key.levels) > 1:
            alpha = [(a, a.alpha) for a in by_key.levels]
            agreed = [(a, a.agreed) for a in by_key.levels]
            both = [
                _plot("Krippendorff's alpha", by_key.key, alpha, TENTATIVE),
                _plot("Share of agreed tokens", by_key.key, agreed, None),
            ]
            drawn.append((by_key, both))
    return drawn


def _plot(
    title: str,
    key: str,
    measured: Sequence[tuple[Agreement, Estimate | None]],
    threshold: float | None,
) -> Plot:
    known = [(a, e) for a, e in measured if e is not None]
    edges = [v for _, e in known for v in (e.value, e.low) if v is not None]
    lowest = ticks(min([0.0, *edges]), 1.0, 5)[0]

    def to_y(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (value - lowest) / (1.0 - lowest), 1)

    step = (RIGHT - LEFT) / len(measured)
    places = {a.level: round(LEFT + step * (i + 0.5), 1) for i, (a, _) in enumerate(measured)}
    bars = [
        Bar(
            places[a.level],
            to_y(e.value),
            None if e.low is None else to_y(e.low),
            None if e.high is None else to_y(min(e.high, 1.0)),
            shown(a.level),
            f"{a.problems:,}",
        )
        for a, e in known
    ]
    return Plot(
        title,
        key,
        bars,
        [(to_y(t), number(t, 6)) for t in ticks(lowest, 1.0, 5)],
        None if threshold is None else to_y(threshold),
    )
