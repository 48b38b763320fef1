"""One row of figures for each arm of a training run, or for each policy of a stage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from apportion.report.data import BASELINE, Measure, Part, Run, outcome_class, over_seeds
from apportion.report.stats import (
    Estimate,
    mean,
    pass_at_k,
    reach_ratio,
    share,
    stratified_bootstrap,
)
from apportion.report.traces import Collected, Tally, arm_of, vote
from apportion.trace import Review, Rollout


@dataclass(frozen=True)
class Figure:
    """A number and, in words, what it rests on (``3 seeds × 200``)."""

    estimate: Estimate | None = None
    of: str = ""


@dataclass(frozen=True)
class Row:
    """``figures`` go by column name; ``cost`` is the reviewers' work, None where unknown."""

    name: str
    about: str
    figures: dict[str, Figure]
    cost: Tally | None = None
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """``columns`` are (name, heading, what one row's number means) of those that have numbers."""

    rows: list[Row]
    columns: list[tuple[str, str, str]]
    split: str = ""
    notes: list[str] = field(default_factory=list)


# name, heading, meaning, metric of the run, whether it is a share of n things
_EVALUATED = [
    ("accuracy", "Accuracy", "share of problems answered right", "eval/accuracy", True),
    ("step_errors", "Step errors", "share of judged steps that are wrong",
     "eval/step_error_rate", True),
    ("lucky", "Right with a wrong step", "share of right answers whose reasoning holds one",
     "eval/right_with_wrong_step", True),
    ("length", "Length", "tokens per completion", "eval/length", False),
]  # fmt: skip
_REACH = ("reach", f"Rollouts, ÷ {BASELINE}", f"to reach the accuracy at which {BASELINE} ends")
_PASS = ("pass", "Pass@k", "chance that one of k completions is right")


def table_of(run: Run, collected: Collected) -> Table:
    """The table of arms. It never raises: what is unknown is left empty."""
    return _training_table(run, collected) if run.measured else _stage_table(run)


def evaluation_split(parts: Sequence[Part]) -> str:
    """``test`` where every evaluated part has it, else ``validation``."""
    evaluated = [p for p in parts if p.splits() & {"test", "validation"}]
    whole = bool(evaluated) and all("test" in p.splits() for p in evaluated)
    return "test" if whole else "validation"


def _training_table(run: Run, collected: Collected) -> Table:
    split = evaluation_split(run.parts)
    rows = [_training_row(run, arm, split, collected) for arm in run.arms]
    columns = [(name, heading, meaning) for name, heading, meaning, *_ in _EVALUATED]
    return Table(rows, _filled([*columns, _REACH], rows), split)


def _training_row(run: Run, arm: str, split: str, collected: Collected) -> Row:
    parts = run.parts_of(arm)
    figures = {
        name: _over(parts, split, metric, is_share) for name, _, _, metric, is_share in _EVALUATED
    }
    figures["reach"] = _reach(run, parts)
    rollouts = [part.lines[-1].rollouts for part in parts if part.lines]
    about = _count(len(parts), "seed") + (
        f", {_spread(rollouts)} rollouts each" if rollouts else ""
    )
    return Row(arm, about, figures, _cost(parts, collected), _alarms(parts))


def _alarms(parts: Sequence[Part]) -> tuple[str, ...]:
    """One sentence for each different alarm, with the seeds that raised it."""
    raised: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for part in parts:
        for update, text in part.alarms():
            raised[text].append((update, "" if part.seed is None else str(part.seed)))
    found = []
    for text, places in raised.items():
        seeds = ", ".join(seed for _, seed in places if seed)
        where = f"seed{'s' if len(places) > 1 else ''} {seeds}, " if seeds else ""
        found.append(f"{text} ({where}from update {min(update for update, _ in places)})")
    return tuple(found)


def _over(parts: Sequence[Part], split: str, metric: str, is_share: bool) -> Figure:
    finals = [measure for part in parts if (measure := part.final(split, metric))]
    return Figure(over_seeds(finals, share=is_share), rests_on(finals))


def rests_on(measures: Sequence[Measure]) -> str:
    """``3 seeds × 200``, with a range where the seeds' n differ."""
    counts = [m.n for m in measures if m.n is not None]
    each = f" × {_spread(counts)}" if counts else ""
    return _count(len(measures), "seed") + each if measures else ""


def _reach(run: Run, parts: Sequence[Part]) -> Figure:
    def curves(chosen: Sequence[Part]) -> dict[object, list[tuple[float, float]]]:
        return {p.seed: [(x, m.value) for x, m in p.series(split, metric)] for p in chosen}

    split, metric = "validation", "eval/accuracy"
    estimate = reach_ratio(curves(parts), curves(run.parts_of(BASELINE)))
    if estimate and parts[0].arm == BASELINE:
        return Figure(Estimate(1.0, estimate.n), "by definition")
    return Figure(estimate, _count(estimate.n, "paired seed") if estimate else "")


def _cost(parts: Sequence[Part], collected: Collected) -> Tally | None:
    """From the run's own counts, else from the usage in its reviews."""
    counted = collected.of_parts(part.label for part in parts)
    totals = {
        name: [part.total(f"review/{name}") for part in parts]
        for name in ("calls", "tokens", "usd", "seconds", "failed")
    }
    if all(value is None for value in totals["calls"]):
        return counted if counted.reviews else None
    sums = {name: sum(value or 0 for value in values) for name, values in totals.items()}
    return Tally(
        reviews=counted.reviews,
        failed=int(sums["failed"]),
        calls=int(sums["calls"]),
        tokens=int(sums["tokens"]),
        seconds=sums["seconds"],
        usd=sums["usd"],
        unpriced=sums["calls"] > 0 and all(value is None for value in totals["usd"]),
    )


def _stage_table(run: Run) -> Table:
    chains: dict[str, list[tuple[Rollout, list[Review]]]] = defaultdict(list)
    costs: dict[str, Tally] = defaultdict(Tally)
    for part in run.parts:
        reviews: dict[str, dict[tuple[str, int], Review]] = defaultdict(dict)
        for review in run.read(part, "reviews"):
            reviews[review.rollout_id][review.reviewer, review.critique] = review
        rollouts = {rollout.id: rollout for rollout in run.read(part, "rollouts")}
        for rollout in rollouts.values():
            arm = arm_of(run, part, rollout)
            own = list(reviews[rollout.id].values())
            chains[arm].append((rollout, own))
            for review in own:
                costs[arm].add(review)
    rows = [_stage_row(run, arm, chains[arm], costs.get(arm)) for arm in sorted(chains)]
    columns = [(name, heading, meaning) for name, heading, meaning, *_ in _EVALUATED]
    return Table(rows, _filled([*columns, _PASS], rows))


def _stage_row(
    run: Run, arm: str, chains: list[tuple[Rollout, list[Review]]], cost: Tally | None
) -> Row:
    right = judged = wrong = reviewed_right = lucky = decided = 0
    lengths: list[float] = []
    in_tokens = all(rollout.token_ids for rollout, _ in chains)
    for rollout, reviews in chains:
        steps = [s for s in vote(run, rollout, reviews).steps if s.votes]
        errors = sum(s.status == "agreed" and s.wrong >= 0.5 for s in steps)
        is_right = outcome_class(rollout.outcome) == "right"
        decided += rollout.outcome is not None
        right += is_right
        judged += len(steps)
        wrong += errors
        reviewed_right += is_right and bool(steps)
        lucky += is_right and errors > 0
        lengths.append(len(rollout.token_ids if in_tokens else rollout.text))
    figures = {
        "accuracy": Figure(share(right, decided), _count(decided, "trace")),
        "step_errors": Figure(share(wrong, judged), _count(judged, "judged step")),
        "lucky": Figure(share(lucky, reviewed_right), _count(reviewed_right, "right answer")),
        "length": Figure(
            stratified_bootstrap(lengths, mean, resamples=1000),
            _count(len(lengths), "trace") + ("" if in_tokens else ", in characters"),
        ),
        "pass": _pass([rollout for rollout, _ in chains]),
    }
    return Row(arm, _count(len(chains), "trace"), figures, cost)


def _pass(rollouts: list[Rollout]) -> Figure:
    """pass@k for the largest k that every problem has completions for; nothing for k = 1."""
    outcomes: dict[str, list[bool]] = defaultdict(list)
    for rollout in rollouts:
        if rollout.outcome is not None:
            outcomes[rollout.problem.id].append(outcome_class(rollout.outcome) == "right")
    k = min((len(found) for found in outcomes.values()), default=0)
    if k < 2:
        return Figure()
    values = [pass_at_k(len(found), sum(found), k) for found in outcomes.values()]
    return Figure(stratified_bootstrap(values, mean), f"k = {k}, {_count(len(values), 'problem')}")


def _filled(columns: list[tuple[str, str, str]], rows: list[Row]) -> list[tuple[str, str, str]]:
    return [c for c in columns if any(c[0] in r.figures and r.figures[c[0]].estimate for r in rows)]


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def _spread(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"
