"""``apportion agree``: how far the reviewers of traces agree, and where they do not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apportion.cli.console import complain, plural, say
from apportion.cli.options import AsJson, Consensus
from apportion.errors import UserError

if TYPE_CHECKING:
    from apportion.consensus.boundary import Agreement
    from apportion.report.agreement import Reliability
    from apportion.stats import Estimate


def agree(
    source: Annotated[
        Path, typer.Argument(metavar="RUN|FILE", help="A run, or its rollouts.jsonl.")
    ],
    by: Annotated[
        list[str] | None,
        typer.Option(help="Key of the problems' meta, or task; default the usual ones."),
    ] = None,
    consensus: Consensus = None,
    as_json: AsJson = False,
) -> None:
    """Agreement of the reviewers by domain and difficulty, with intervals."""
    import json

    from apportion.cli.stage import voting
    from apportion.report.agreement import reliability
    from apportion.report.data import load_run

    run = load_run(source.parent if source.is_file() else source)
    options = None if consensus is None else voting(consensus, [source])
    found = reliability(run, by or None, options)
    complain(run.complaints)
    if not found:
        raise UserError(
            f"{source}: no step was judged twice: review the traces by two reviewers or more, "
            f"'apportion review {source} -r ONE -r OTHER'"
        )
    if as_json:
        say(json.dumps([_as_json(by_key) for by_key in found]))
        return
    _print(found)


def _print(found: list[Reliability]) -> None:
    from rich.console import Console
    from rich.table import Table

    from apportion.report.agreement import shown

    table = Table(box=None, pad_edge=False)
    table.add_column("level")
    for heading in ("problems", "traces", "alpha", "agreed tokens"):
        table.add_column(heading, justify="right")
    for by_key in found:
        for one in by_key.levels:
            level = f"{by_key.key} {shown(one.level)}" if by_key.key else "all"
            sizes = (f"{one.problems:,}", f"{one.rollouts:,}")
            table.add_row(level, *sizes, _text(one.alpha), _text(one.agreed))
    Console(highlight=False, width=None).print(table)
    for by_key in found:
        if by_key.sentence:
            say(by_key.sentence)
    say(f"95 % intervals from resampling {plural(found[0].levels[0].problems, 'problem')}.")


def _text(estimate: Estimate | None) -> str:
    from apportion.report.wording import fixed, interval

    return "-" if estimate is None else f"{fixed(estimate.value)} {interval(estimate)}"


def _as_json(by_key: Reliability) -> dict[str, Any]:
    boundary = by_key.boundary
    return {
        "by": by_key.key or None,
        "levels": [_level(one) for one in by_key.levels],
        "boundary": None if boundary is None else boundary.__dict__,
    }


def _level(one: Agreement) -> dict[str, Any]:
    figures = {name: getattr(one, name) for name in ("alpha", "agreed")}
    sizes = {"level": one.level, "problems": one.problems, "rollouts": one.rollouts}
    return sizes | {
        name: None if e is None else {"value": e.value, "n": e.n, "low": e.low, "high": e.high}
        for name, e in figures.items()
    }
