"""One row of figures for each arm of a training run, or for each policy of a stage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from apportion.reach import reach_ratio
from apportion.report import faith
from apportion.report.data import BASELINE, Measure, Part, Run, outcome_class, over_seeds
from apportion.report.traces import Collected, Tally, arm_of
from apportion.report.voting import vote_all
from apportion.report.wording import duration
from apportion.stats import Estimate, mean, pass_at_k, share, stratified_bootstrap
from apportion.trace import Review, Rollout, StepConsensus


@dataclass(frozen=True)
class Figure:
    """A number and, in words, what it rests on (``3 seeds × 200``)."""

    estimate: Estimate | None = None
    of: str = ""


@dataclass(frozen=True)
class Row:
    """``figures`` go by column name; ``cost`` is the reviewers' work, None where unknown, and
    ``failed`` the share of reviews that failed. ``pairs`` holds the values behind the figures by
    seed (training) or problem (stage): what rows are paired by. ``parts`` are those measured."""

    name: str
    about: str
    figures: dict[str, Figure]
    cost: Tally | None = None
    failed: Figure = Figure()
    alarms: tuple[str, ...] = ()
    pairs: dict[str, dict[str, float]] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Table:
    """``columns`` are (name, heading, what one row's number means) of those that have numbers."""

    rows: list[Row]
    columns: list[tuple[str, str, str]]
    split: str = ""


# name, heading, meaning, metric of the run, whether it is a share of n things
_EVALUATED = [
    ("accuracy", "Accuracy", "share of problems answered right", "eval/accuracy", True),
    ("step_errors", "Step errors", "share of judged steps that are wrong",
     "eval/step_error_rate", True),
    ("lucky", "Right with a wrong step", "share of right answers whose reasoning holds one",
     "eval/right_with_wrong_step", True),
    ("length", "Length", "tokens per completion", "eval/length", False),
]  # fmt: skip
_PASS = ("pass", "Pass@k", "chance that one of k completions is right")


def table_of(run: Run, collected: Collected) -> Table:
    """The table of arms, or of a stage's policies; what is unknown is left empty."""
    if not run.measured:
        rows = stage_rows(run)
        return Table(rows, filled(rows))
    split = evaluation_split(run.parts)
    rows = add_reach(training_rows(run, collected, split), run.parts_of(BASELINE))
    return Table(rows, filled(rows), split)


def evaluation_split(parts: Sequence[Part]) -> str:
    """``test`` where every evaluated part has it, else ``validation``."""
    evaluated = [p for p in parts if p.splits() & {"test", "validation"}]
    whole = bool(evaluated) and all("test" in p.splits() for p in evaluated)
    return "test" if whole else "validation"


def training_rows(run: Run, collected: Collected, split: str) -> list[Row]:
    """A row for each arm of a run, from the last evaluation on a split."""
    return [_training_row(arm, run.parts_of(arm), split, collected) for arm in run.arms]


def _training_row(arm: str, parts: list[Part], split: str, collected: Collected) -> Row:
    figures: dict[str, Figure] = {}
    pairs: dict[str, dict[str, float]] = {}
    for name, _, _, metric, is_share in _EVALUATED:
        finals = {str(part.seed): m for part in parts if (m := part.final(split, metric))}
        measures = list(finals.values())
        figures[name] = Figure(over_seeds(measures, share=is_share), rests_on(measures))
        pairs[name] = {seed: measure.value for seed, measure in finals.items()}
    for metric in faith.headlines(parts):
        finals = {str(part.seed): m for part in parts if (m := faith.final(part, metric))}
        measures = list(finals.values())
        figures[metric] = Figure(over_seeds(measures, share=False), rests_on(measures))
        pairs[metric] = {seed: measure.value for seed, measure in finals.items()}
    failed = _failed(parts, collected)
    cost = _cost(parts, collected)
    about = _about(parts)
    return Row(arm, about, figures, cost, failed, _alarms(parts), pairs, tuple(parts))


def _about(parts: Sequence[Part]) -> str:
    rollouts = [part.lines[-1].rollouts for part in parts if part.lines]
    seconds = [float(s) for part in parts if (s := part.manifest.get("seconds"))]
    words = [_count(len(parts), "seed")]
    if rollouts:
        words.append(f"{_spread(rollouts)} rollouts each")
    if seconds:
        words.append(f"{duration(sum(seconds) / len(seconds))} each")
    return ", ".join(words)


def add_reach(rows: list[Row], baseline: Sequence[Part]) -> list[Row]:
    """Fill in, for each row, the rollouts needed to reach the level at which the baseline ends."""
    for row in rows:
        row.figures["reach"] = _reach(row.parts, baseline)
    return rows


def _failed(parts: Sequence[Part], collected: Collected) -> Figure:
    """Over all updates where the run measured it, else over the reviews that it recorded."""
    measured = [m.value for part in parts for _, m in part.series("train", "review/failed")]
    if measured:
        estimate = stratified_bootstrap(measured, mean, resamples=1000)
        return Figure(estimate, _count(len(measured), "update"))
    counted = collected.of_parts(part.label for part in parts)
    return failed_reviews(counted)


def failed_reviews(tally: Tally) -> Figure:
    return Figure(share(tally.failed, tally.reviews), _count(tally.reviews, "review"))


def _alarms(parts: Sequence[Part]) -> tuple[str, ...]:
    """One sentence for each different alarm, with the seeds that raised it."""
    raised: dict[str, list[tuple[int | None, str]]] = defaultdict(list)
    for part in parts:
        for update, text in part.alarms():
            raised[text].append((update, "" if part.seed is None else str(part.seed)))
    found = []
    for text, places in raised.items():
        seeds = ", ".join(seed for _, seed in places if seed)
        updates = [update for update, _ in places if update is not None]
        where = [f"seed{'s' if len(places) > 1 else ''} {seeds}"] if seeds else []
        where += [f"from update {min(updates)}"] if updates else []
        found.append(f"{text} ({', '.join(where)})" if where else text)
    return tuple(found)


def rests_on(measures: Sequence[Measure]) -> str:
    """``3 seeds × 200``, with a range where the seeds' n differ."""
    counts = [m.n for m in measures if m.n is not None]
    each = f" × {_spread(counts)}" if counts else ""
    return _count(len(measures), "seed") + each if measures else ""


def _reach(parts: Sequence[Part], baseline: Sequence[Part]) -> Figure:
    def curves(chosen: Sequence[Part]) -> dict[object, list[tuple[float, float]]]:
        return {p.seed: [(x, m.value) for x, m in p.series(split, metric)] for p in chosen}

    split, metric = "validation", "eval/accuracy"
    estimate = reach_ratio(curves(parts), curves(baseline))
    if estimate and {p.path for p in parts} == {p.path for p in baseline}:
        return Figure(Estimate(1.0, estimate.n), "by definition")
    return Figure(estimate, _count(estimate.n, "paired seed") if estimate else "")


def _cost(parts: Sequence[Part], collected: Collected) -> Tally | None:
    """From the run's own counts, else from the usage in its reviews."""
    counted = collected.of_parts(part.label for part in parts)
    totals = {
        name: [part.total(f"review/{name}") for part in parts]
        for name in ("calls", "tokens", "usd", "seconds")
    }
    if all(value is None for value in totals["calls"]):
        return counted if counted.reviews else None
    sums = {name: sum(value or 0 for value in values) for name, values in totals.items()}
    return Tally(
        reviews=counted.reviews,
        calls=int(sums["calls"]),
        tokens=int(sums["tokens"]),
        seconds=sums["seconds"],
        usd=sums["usd"],
        unpriced=sums["calls"] > 0 and all(value is None for value in totals["usd"]),
    )


def stage_rows(run: Run) -> list[Row]:
    """A row for each policy whose traces a stage holds, counted from the records themselves."""
    chains: dict[str, list[_Chain]] = defaultdict(list)
    costs: dict[str, Tally] = defaultdict(Tally)
    for part in run.parts:
        reviews: dict[str, dict[tuple[str, int], Review]] = defaultdict(dict)
        for review in run.read(part, "reviews"):
            reviews[review.rollout_id][review.reviewer, review.critique] = review
        rollouts = {rollout.id: rollout for rollout in run.read(part, "rollouts")}
        pairs = [(r, list(reviews[r.id].values())) for r in rollouts.values()]
        for (rollout, own), agreed in zip(pairs, vote_all(run, part, pairs), strict=True):
            arm = arm_of(run, part, rollout)
            chains[arm].append(_Chain(rollout, [s for s in agreed.steps if s.votes]))
            for review in own:
                costs[arm].add(review)
    return [_stage_row(arm, chains[arm], costs.get(arm)) for arm in sorted(chains)]


class _Chain(NamedTuple):
    """A rollout and the steps of its reasoning that were voted on."""

    rollout: Rollout
    steps: list[StepConsensus]


def _stage_row(arm: str, chains: list[_Chain], cost: Tally | None) -> Row:
    right = judged = wrong = reviewed_right = lucky = decided = 0
    in_tokens = all(chain.rollout.token_ids for chain in chains)
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for rollout, steps in chains:
        problem = rollout.problem.id
        errors = sum(s.status == "agreed" and s.wrong >= 0.5 for s in steps)
        is_right = outcome_class(rollout.outcome) == "right"
        if rollout.outcome is not None:
            decided += 1
            right += is_right
            values["accuracy"][problem].append(float(is_right))
        if steps:
            judged += len(steps)
            wrong += errors
            values["step_errors"][problem].append(errors / len(steps))
            reviewed_right += is_right
            lucky += is_right and errors > 0
        length = len(rollout.token_ids if in_tokens else rollout.text)
        values["length"][problem].append(float(length))
    lengths = [length for found in values["length"].values() for length in found]
    figures = {
        "accuracy": Figure(share(right, decided), _count(decided, "trace")),
        "step_errors": Figure(share(wrong, judged), _count(judged, "judged step")),
        "lucky": Figure(share(lucky, reviewed_right), _count(reviewed_right, "right answer")),
        "length": Figure(
            stratified_bootstrap(lengths, mean, resamples=1000),
            _count(len(lengths), "trace") + ("" if in_tokens else ", in characters"),
        ),
        "pass": _pass([chain.rollout for chain in chains]),
    }
    failed = failed_reviews(cost) if cost else Figure()
    pairs = {
        name: {problem: sum(found) / len(found) for problem, found in by_problem.items()}
        for name, by_problem in values.items()
    }
    return Row(arm, _count(len(chains), "trace"), figures, cost, failed, pairs=pairs)


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


def filled(rows: Sequence[Row], baseline: str = BASELINE) -> list[tuple[str, str, str]]:
    """(name, heading, meaning) of the columns in which some row has a number."""
    columns = [(name, heading, meaning) for name, heading, meaning, *_ in _EVALUATED]
    reach = ("reach", f"Rollouts, ÷ {baseline}", f"to reach the accuracy at which {baseline} ends")
    columns += [reach, _PASS, *faith.columns(measured_of(rows))]
    return [c for c in columns if any(c[0] in r.figures and r.figures[c[0]].estimate for r in rows)]


def measured_of(rows: Sequence[Row]) -> list[str]:
    """The measures of faithfulness that some row has."""
    return list(dict.fromkeys(n for row in rows for n in row.figures if n.startswith(faith.PREFIX)))


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def _spread(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"
