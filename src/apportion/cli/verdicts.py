"""``apportion verdicts``: what became of the claims that a recipe made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apportion.cli.console import note, say


def verdicts(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="A run, or several that differ in seeds: pooled."),
    ],
    claims: Annotated[
        str | None,
        typer.Option(metavar="RECIPE", help="Judge this recipe's claims, as not registered."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Judge the claims of a recipe by what its runs measured: confirmed, refuted, undecided.

    Of a single run with claims of its own, verdicts.json is written anew.
    """
    from apportion.report.claims import judge_runs, write_verdicts

    given = None
    if claims is not None:
        from apportion.config import resolve

        given = resolve(claims).claims
    judged = judge_runs(runs, given)
    if as_json:
        say(judged.model_dump_json(indent=2))
    else:
        from rich.console import Console

        from apportion.report.verdict_words import table

        Console(highlight=False).print(table(judged.verdicts))
        say(f"95 % intervals: Student's t over paired seeds{_origin(judged.registered)}")
    if given is None and len(runs) == 1:
        note(str(write_verdicts(runs[0])))


def _origin(registered: bool) -> str:
    return "" if registered else "; these claims are not those that the runs registered"
