"""One self-contained HTML file: curves, tables and the trace browser.

The page loads nothing and runs one script, whose hash is in its content security policy. Records
are embedded as JSON in which every ``<`` is escaped; the script shows them through textContent.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from apportion import __version__
from apportion.credit import METHODS
from apportion.errors import UserError
from apportion.records import write_text_atomic
from apportion.report import verdict_words, wording
from apportion.report.agreement import plots, reliability, several_reviewers
from apportion.report.arms import Row, Table, table_of
from apportion.report.claims import verdicts_of
from apportion.report.curves import Chart, charts_of
from apportion.report.data import BASELINE, Run, load_run
from apportion.report.embed import embed_lines
from apportion.report.latent_chains import latent_chains
from apportion.report.marks import mark_of, style_of
from apportion.report.traces import Collected, collect
from apportion.report.worth import worth_of
from apportion.stats import share

_STYLES = ("page.css", "browser.css", "probed.css", "latents.css")
_SCRIPTS = (
    *("dom", "state", "list", "arcs", "moves", "probed", "edited"),
    *("chain", "detail", "keys", "charts", "main"),
)
_CONTROLS = ("shuffled", "random")
SIDE_BY_SIDE = "side by side"
DEFAULT_TRACES = 300


def is_control(name: str) -> bool:
    """Whether an arm (``shuffled``, or ``run/shuffled`` where runs are compared) must gain nothing;
    its line is dashed."""
    return name.rsplit("/", 1)[-1] in _CONTROLS


class Strip(NamedTuple):
    """An estimate on its column's scale of 0 to 100; ``base`` is where the baseline's value is."""

    at: float
    low: float | None
    high: float | None
    base: float | None


def write_report(run_dir: Path | str, *, max_traces: int = DEFAULT_TRACES) -> Path:
    """Write ``report.html`` into a run directory and return its path.

    At most ``max_traces`` traces are embedded, spread over arms, right and wrong answers, and
    training. Missing files, unreadable lines and alarms become notes on the page. Raises
    UserError where the directory holds no records or the page cannot be written.
    """
    if max_traces < 0:
        raise UserError(f"max_traces {max_traces}: give 0 or more")
    run = load_run(run_dir)
    html = run_page(run, collect(run, max_traces))
    path = run.path / "report.html"
    write_text_atomic(path, html)
    return path


def run_page(run: Run, collected: Collected) -> str:
    """The page of one run."""
    table = table_of(run, collected)
    charts = charts_of(run)
    alarms = [(row.name, alarm) for row in table.rows for alarm in row.alarms]
    verdicts = verdicts_of(run)
    agreement = reliability(run) if several_reviewers(collected) else []
    return render(
        "report.html",
        title=str(run.config.get("name") or run.name),
        question=str(run.config.get("question") or ""),
        lead=lead(run, table, collected),
        run=run,
        table=table,
        verdicts=verdicts,
        charts=charts,
        alarms=alarms,
        few_seeds=any(s.seeds < 5 for chart in charts for s in chart.series),
        charts_of=_rests_on(charts),
        reviewers=collected.reviewers(),
        worths=worth_of(run),
        latents=latent_chains(run),
        agreement=agreement,
        agreement_plots=plots(agreement),
        facts=facts(run),
        traces=collected,
        view=SIDE_BY_SIDE,
        baseline=BASELINE,
        arms="arms" if run.measured else "policies",
    )


def render(
    template: str,
    *,
    traces: Collected,
    charts: Sequence[Chart],
    view: str,
    arms: str,
    **context: Any,
) -> str:
    """Fill a template; ``view`` is how the trace browser shows a trace at first, ``arms`` what the
    things compared are called (arms, policies, runs)."""
    script = _script()
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    shown = len(traces.traces)
    return _environment().get_template(template).render(
        style=Markup(_style()),
        script=Markup(script),
        script_hash=Markup(f"sha256-{digest}"),
        data=Markup(embed_lines(browser_data(traces.traces, charts, view, arms))),
        arms=arms,
        charts=charts,
        shown=shown,
        total=traces.total,
        shown_sentence=_shown(shown, traces, arms),
        **context,
    )  # fmt: skip


def browser_data(
    traces: list[dict[str, Any]], charts: Sequence[Chart], view: str, arms: str
) -> dict[str, Any]:
    """What the page's script reads."""
    known = list(METHODS)
    found = {method for trace in traces for method in trace["credit"]}
    methods = [m for m in known if m in found] + sorted(found.difference(known))
    strongest = {}
    for method in methods:
        peaks = [t["credit"][method]["peak"] for t in traces if method in t["credit"]]
        given = [peak for peak in peaks if peak is not None]
        strongest[method] = float(np.percentile(given, 90)) if given else 0.0
    return {
        "traces": traces,
        "methods": methods,
        "strongest": strongest,
        "showArms": len({trace["arm"] for trace in traces}) > 1,
        "charts": [chart.data() for chart in charts],
        "arms": arms,
        "view": view if len(methods) > 1 or view != SIDE_BY_SIDE else "one",
    }


def lead(run: Run, table: Table, collected: Collected) -> list[str]:
    """What the page says first, in words."""
    if not table.rows:
        return []
    return _training_lead(run, table) if run.measured else _stage_lead(table)


def _training_lead(run: Run, table: Table) -> list[str]:
    seeds = {part.seed for part in run.parts if part.seed is not None}
    trained = [part.lines[-1].rollouts for part in run.parts if part.lines]
    first = f"{len(table.rows)} arm{'s' if len(table.rows) != 1 else ''}"
    first += f", {len(seeds) or 1} seed{'s' if len(seeds) > 1 else ''} each"
    sentences = [f"{first}, trained on up to {max(trained):,} rollouts."] if trained else []
    scored = [row for row in table.rows if _value(row, "accuracy") is not None]
    if scored:
        told = [f"{row.name} {_told(row, 'accuracy')}" for row in scored]
        of = scored[0].figures["accuracy"].of
        which = "Final" if table.split == "test" else "Last"
        sentences.append(f"{which} {table.split} accuracy: {'; '.join(told)} (n = {of}).")
    faster = [_reach(row) for row in table.rows if row.name != BASELINE]
    if any(faster):
        sentences.append(
            f"To reach the accuracy at which {BASELINE} ends, {'; '.join(filter(None, faster))}."
        )
    return sentences


def _reach(row: Row) -> str:
    value = _value(row, "reach")
    if value is None:
        return ""
    if np.isinf(value):
        return f"{row.name} would need more than it had"
    estimate = row.figures["reach"].estimate
    assert estimate is not None
    needed = f"{row.name} needs {wording.fixed(value, 2)} times as many rollouts"
    if estimate.low is None:
        return needed
    return f"{needed} {wording.interval(estimate, 2)}"


def _stage_lead(table: Table) -> list[str]:
    """Of all policies together: how many right answers rest on a wrong step."""
    counted = [e for row in table.rows if (e := row.figures["lucky"].estimate)]
    right = sum(estimate.n for estimate in counted)
    wrong = round(sum(estimate.value * estimate.n for estimate in counted))
    if not right:
        return []
    answers = f"{right:,} right answer{'s' if right != 1 else ''} that were reviewed"
    return [
        f"Of {answers}, {wrong:,} rest on reasoning with a wrong step: {share_of(wrong, right)}."
    ]


def _value(row: Row, name: str) -> float | None:
    figure = row.figures.get(name)
    return figure.estimate.value if figure and figure.estimate else None


def _told(row: Row, name: str) -> str:
    estimate = row.figures[name].estimate
    assert estimate is not None
    return f"{wording.fixed(estimate.value)} {wording.interval(estimate)}"


def facts(run: Run) -> list[tuple[str, str, bool]]:
    """(name, value, whether it is code) of what one needs to make the run again."""
    manifest = run.manifest
    command = manifest.get("command")
    versions = manifest.get("versions")
    found = [
        ("Command", " ".join(map(str, command)) if isinstance(command, list) else command, True),
        ("Seeds", ", ".join(map(str, manifest.get("seeds") or [])), False),
        ("Started", manifest.get("started"), False),
        ("Finished", manifest.get("finished") or ("not yet" if manifest else None), False),
        ("Resumed", f"{len(manifest.get('resumed') or [])} times", False)
        if manifest.get("resumed")
        else ("", None, False),
        ("Versions", _listing(versions), False),
        ("Source", _source(manifest.get("git")), True),
        ("Page by", f"apportion {__version__}", False),
    ]
    return [(name, str(value), code) for name, value, code in found if value]


def _listing(versions: Any) -> str | None:
    if not isinstance(versions, dict):
        return None
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _source(git: Any) -> str | None:
    state = git.get("working_directory") if isinstance(git, dict) else None
    if not isinstance(state, dict):
        return None
    return f"{state.get('commit')}{' with changes' if state.get('dirty') else ''}"


def _shown(shown: int, traces: Collected, arms: str) -> str:
    if shown == traces.total:
        return f"All {shown:,} traces." if shown != 1 else "The only trace."
    over = (
        f"{shown:,} of {traces.total:,} traces, chosen evenly over {arms}, right and wrong answers"
    )
    if traces.timed:
        over += ", early, middle and late training, and those with the credit of several methods"
    return f"{over}."


def _rests_on(charts: Sequence[Chart]) -> str:
    if not charts:
        return ""
    series = {s.of for s in charts[0].series}
    return f"n = {' or '.join(sorted(series))}."


def strip(table: Table, row: Row, name: str, baseline: str) -> Strip | None:
    """Where an estimate lies among those of its column; None where one of them is infinite."""
    estimates = [f.estimate for r in table.rows if (f := r.figures.get(name)) and f.estimate]
    own = row.figures[name].estimate if name in row.figures else None
    edges = [v for e in estimates for v in (e.value, e.low, e.high) if v is not None]
    if own is None or len(estimates) < 2 or not np.isfinite(edges).all():
        return None
    low, high = min(edges), max(edges)
    base = next((_value(r, name) for r in table.rows if r.name == baseline), None)

    def place(value: float | None) -> float | None:
        return None if value is None else round(3 + 94 * (value - low) / ((high - low) or 1), 1)

    at = place(own.value)
    assert at is not None
    return Strip(at, place(own.low), place(own.high), place(base))


def share_of(successes: int, n: int) -> str:
    """A share with its Wilson interval, in words."""
    estimate = share(successes, n)
    return f"{wording.fixed(estimate.value)} {wording.interval(estimate)}" if estimate else "–"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("apportion.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["control"] = is_control
    environment.filters |= {
        "style": style_of,
        "mark": mark_of,
        "fixed": wording.fixed,
        "signed": wording.signed,
        "interval": wording.interval,
        "places": wording.places_for,
        "cost": wording.cost,
        "count": wording.compact_count,
        "capitalize_first": lambda text: text[:1].upper() + text[1:],
        "duration": wording.duration,
        "share_of": share_of,
        "visible": wording.visible,
        "strip": strip,
        "signed_word": verdict_words.signed_word,
        "verdict_figure": verdict_words.figure,
        "verdict_rests_on": verdict_words.rests_on,
        "expectation": verdict_words.expectation,
    }
    return environment


def _template_text(name: str) -> str:
    loader = _environment().loader
    assert loader is not None
    return loader.get_source(_environment(), name)[0]


@cache
def _style() -> str:
    return "\n".join(_template_text(name) for name in _STYLES)


@cache
def _script() -> str:
    """The page's script, in a function of its own so that it leaves nothing behind."""
    body = "\n".join(_template_text(f"js/{name}.js") for name in _SCRIPTS)
    return f'(() => {{\n"use strict";\n{body}\n}})();'
