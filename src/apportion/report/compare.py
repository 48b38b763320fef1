"""Several runs, or the arms of one, against a baseline: paired differences with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table as TextTable
from rich.text import Text

from apportion.errors import UserError
from apportion.records import write_text_atomic
from apportion.report import faith, wording
from apportion.report.arms import (
    Row,
    Table,
    add_reach,
    evaluation_split,
    filled,
    measured_of,
    stage_rows,
    training_rows,
)
from apportion.report.bet import Bet, bet
from apportion.report.cost_curves import cost_charts
from apportion.report.curves import charts
from apportion.report.data import BASELINE, Run, load_run
from apportion.report.page import DEFAULT_TRACES, Strip, facts, render
from apportion.report.signals import Signals, signals
from apportion.report.traces import Collected, collect
from apportion.report.tradeoff import Tradeoff, tradeoff
from apportion.stats import (
    Estimate,
    SignFlip,
    holm,
    paired_bootstrap,
    paired_differences,
    sign_flip_test,
    unpaired_bootstrap,
)

_COMPARED = {
    "accuracy": "Accuracy",
    "step_errors": "Step errors",
    "lucky": "Right with a wrong step",
    "length": "Length",
}


@dataclass(frozen=True)
class Difference:
    """``other`` minus the baseline in one column. ``paired`` says by what (``seed``,
    ``problem``), or is empty where the two have none in common; then there is no test.
    ``adjusted`` is Holm's p over all differences of the comparison."""

    other: str
    column: str
    heading: str
    estimate: Estimate
    paired: str = ""
    test: SignFlip | None = None
    adjusted: float | None = None

    @property
    def of(self) -> str:
        if not self.paired:
            return f"unpaired, at least {self.estimate.n} each"
        return f"{self.estimate.n:,} {self.paired}{'' if self.estimate.n == 1 else 's'}"

    @property
    def significance(self) -> str:
        """p and its adjustment, in words."""
        if self.test is None or self.adjusted is None:
            return "not tested"
        return f"p {wording.p_value(self.test.p)}, adjusted {wording.p_value(self.adjusted)}"

    @property
    def limit(self) -> str:
        """Says so where too few pairs differ for any p below 0.05."""
        if self.test is None or not 0.05 < self.test.smallest < 1:
            return ""
        return f"least possible {self.test.smallest:.3g}"


@dataclass(frozen=True)
class Comparison:
    """A row for each run and arm, and the differences of all but the first to ``baseline``.

    Printing it with rich shows two tables, what arms reach at equal cost, what they give for what,
    and the notes.
    """

    baseline: str
    table: Table
    differences: list[Difference]
    notes: list[str] = field(default_factory=list)
    page: Path | None = None
    bet: Bet | None = None
    signals: Signals | None = None
    tradeoff: Tradeoff | None = None

    def __rich__(self) -> RenderableType:
        parts: list[RenderableType] = [self._rows()]
        if self.differences:
            parts += [Text(), self._differences()]
        if self.bet:
            parts += [Text(), self.bet]
        if self.signals:
            parts += [Text(), self.signals]
        if self.tradeoff:
            parts += [Text(), self.tradeoff]
        return Group(*parts, *(Text(note) for note in self.notes))

    def _rows(self) -> TextTable:
        table = TextTable(title=f"last evaluation, {self.table.split}" if self.table.split else "")
        table.add_column("run")
        for _, heading, _ in self.table.columns:
            table.add_column(heading)
        for row in self.table.rows:
            cells = [_cell(row, name) for name, _, _ in self.table.columns]
            table.add_row(Text(row.name), *cells)
        return table

    def _differences(self) -> TextTable:
        table = TextTable(title=f"difference to {self.baseline}, 95 % interval")
        for heading in ("run", "measure", "difference", "pairs", "sign-flip test"):
            table.add_column(heading)
        for d in self.differences:
            places = wording.places_for(d.column)
            value = f"{wording.signed(d.estimate.value, places)}"
            shown = f"{value} {wording.interval(d.estimate, places)}"
            tested = ", ".join(filter(None, (d.significance, d.limit)))
            table.add_row(Text(d.other), d.heading, Text(shown), d.of, tested)
        return table


def _cell(row: Row, name: str) -> Text:
    figure = row.figures.get(name)
    if figure is None or figure.estimate is None:
        return Text("–")
    places = wording.places_for(name)
    interval = wording.interval(figure.estimate, places)
    return Text(f"{wording.fixed(figure.estimate.value, places)} {interval}\n{figure.of}")


def compare_runs(
    paths: Sequence[Path | str], out: Path | str | None = None, *, max_traces: int = DEFAULT_TRACES
) -> Comparison:
    """Compare run directories (or the arms of a single one), and write a page to ``out``.

    The baseline is the arm named ``outcome`` of the first run that has one, else the first arm.
    Training runs are paired by seed, stages by problem. Raises UserError where a path holds no
    run, where there is nothing to compare, or where the page cannot be written.
    """
    if not paths:
        raise UserError("compare: name at least one run directory")
    runs = [load_run(path) for path in paths]
    collected = [collect(run, max(1, max_traces // len(runs))) for run in runs]
    comparison = compare(runs, collected)
    if out is None:
        return comparison
    out = Path(out)
    write_text_atomic(out, _page(runs, collected, comparison))
    return replace(comparison, page=out)


def compare(runs: Sequence[Run], collected: Sequence[Collected]) -> Comparison:
    """The comparison of runs that are loaded already."""
    split = evaluation_split([part for run in runs for part in run.parts])
    labels = run_labels(runs)
    rows: list[Row] = []
    for run, label, found in zip(runs, labels, collected, strict=True):
        own = training_rows(run, found, split) if run.measured else stage_rows(run)
        rows += [replace(row, name=contender(label, row.name, len(runs), len(own))) for row in own]
    if len(rows) < 2:
        raise UserError(
            f"compare: {rows[0].name if rows else 'nothing'} has nothing beside it: name a second "
            "run, or a run with several arms"
        )
    base = next((row for row in rows if row.name.split("/")[-1] == BASELINE), rows[0])
    rows = [base, *(row for row in rows if row is not base)]
    if any(row.parts for row in rows):
        rows = add_reach(rows, base.parts)
    trained = split if any(run.measured for run in runs) else ""
    table = Table(rows, filled(rows, base.name), trained)
    arms = {row.name: row.parts for row in rows}
    return Comparison(
        base.name,
        table,
        _differences(base, rows),
        _notes(runs, labels),
        bet=bet(arms),
        signals=signals(arms),
        tradeoff=tradeoff(arms),
    )


def run_labels(runs: Sequence[Run]) -> list[str]:
    """Directory names, or whole paths where two are the same."""
    names = [run.name for run in runs]
    return [
        str(run.path) if names.count(name) > 1 else name
        for run, name in zip(runs, names, strict=True)
    ]


def contender(label: str, arm: str, runs: int, arms: int) -> str:
    """What a row is called: the arm in a single run, the run where it has one arm, else both."""
    if runs == 1:
        return arm
    return label if arms == 1 else f"{label}/{arm}"


def _differences(base: Row, rows: Sequence[Row]) -> list[Difference]:
    found = []
    compared = _COMPARED | {name: faith.title(name) for name in measured_of(rows)}
    for row in rows:
        for column, heading in compared.items():
            first, second = base.pairs.get(column, {}), row.pairs.get(column, {})
            if row is not base and first and second:
                found.append(_difference(row, column, heading, first, second))
    tested = [i for i, d in enumerate(found) if d.test is not None]
    adjusted = holm([found[i].test.p for i in tested])
    for i, p in zip(tested, adjusted, strict=True):
        found[i] = replace(found[i], adjusted=p)
    return found


def _difference(
    row: Row, column: str, heading: str, first: dict[str, float], second: dict[str, float]
) -> Difference:
    estimate = paired_bootstrap(first, second)
    if estimate is None:
        loose = unpaired_bootstrap([*first.values()], [*second.values()])
        assert loose is not None
        return Difference(row.name, column, heading, loose)
    test = sign_flip_test(paired_differences(first, second))
    paired = "seed" if row.parts else "problem"
    return Difference(row.name, column, heading, estimate, paired, test)


def _notes(runs: Sequence[Run], labels: Sequence[str]) -> list[str]:
    notes = [
        f"{label}: {note}" for run, label in zip(runs, labels, strict=True) for note in run.notes
    ]
    for key in ("task", "eval"):
        settings = {str(run.config[key]) for run in runs if run.config.get(key) is not None}
        if len(settings) > 1:
            notes.append(
                f"The runs differ in {key}: they may have been measured on other problems, and "
                "then their difference is not that of the methods."
            )
    if any(run.measured for run in runs) and not all(run.measured for run in runs):
        notes.append("Some of these are training runs and some are not: they share no pairs.")
    return notes


def _page(runs: Sequence[Run], collected: Sequence[Collected], comparison: Comparison) -> str:
    labels = run_labels(runs)
    rows = comparison.table.rows
    arms = [(row.name, index, row.parts) for index, row in enumerate(rows)]
    drawn = [*charts(arms), *cost_charts(arms)]
    complaints = [
        f"{label}: {c}" for run, label in zip(runs, labels, strict=True) for c in run.complaints
    ]
    return render(
        "compare.html",
        title="Comparison of " + (runs[0].name if len(runs) == 1 else f"{len(runs)} runs"),
        traces=_traces(runs, labels, collected, comparison),
        charts=drawn,
        view="answers",
        comparison=comparison,
        complaints=complaints,
        alarms=[(row.name, alarm) for row in rows for alarm in row.alarms],
        few_seeds=any(s.seeds < 5 for chart in drawn for s in chart.series),
        charts_of="",
        strips=_strips(comparison.differences),
        runs=[(name, facts(run), run.config_text) for name, run in zip(labels, runs, strict=True)],
        arms="runs" if len(runs) > 1 else "arms" if runs[0].measured else "policies",
    )  # fmt: skip


def _traces(
    runs: Sequence[Run],
    labels: Sequence[str],
    collected: Sequence[Collected],
    comparison: Comparison,
) -> Collected:
    """The traces of all runs, named after the rows of the comparison."""
    names = {row.name for row in comparison.table.rows}
    total, timed = sum(c.total for c in collected), any(c.timed for c in collected)
    every = Collected(total=total, timed=timed)
    for run, label, found in zip(runs, labels, collected, strict=True):
        arms = len({trace["arm"] for trace in found.traces}) if not run.measured else len(run.arms)
        for trace in found.traces:
            arm = contender(label, trace["arm"], len(runs), arms)
            identity = trace["id"] if len(runs) == 1 else f"{label}/{trace['id']}"
            every.traces.append(trace | {"arm": arm if arm in names else label, "id": identity})
    return every


def _strips(differences: Sequence[Difference]) -> list[Strip | None]:
    """Intervals of each column on a common scale that holds zero."""
    strips: list[Strip | None] = []
    for d in differences:
        edges = [0.0]
        for other in differences:
            if other.column == d.column:
                e = other.estimate
                edges += [v for v in (e.value, e.low, e.high) if v is not None]
        low, high = min(edges), max(edges)
        strips.append(_strip(d.estimate, low, (high - low) or 1.0))
    return strips


def _strip(estimate: Estimate, low: float, span: float) -> Strip:
    def place(value: float) -> float:
        return round(3 + 94 * (value - low) / span, 1)

    ends = [None if v is None else place(v) for v in (estimate.low, estimate.high)]
    return Strip(place(estimate.value), ends[0], ends[1], place(0.0))


__all__ = ["Comparison", "Difference", "compare", "compare_runs"]
