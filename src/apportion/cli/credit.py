"""``apportion credit``: recorded rollouts and reviews to a number per token, by any method."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apportion.cli.console import SPEC_HELP, Progress, plural, say
from apportion.errors import UserError


def credit(
    sources: Annotated[
        list[Path], typer.Argument(metavar="FILE|RUN", help="Traces, with their reviews.")
    ],
    method: Annotated[list[str], typer.Option("--method", "-m", help=f"{SPEC_HELP}; repeatable.")],
    out: Annotated[Path | None, typer.Option(help="Directory; default runs/credit-NAME.")] = None,
    map: Annotated[list[str] | None, typer.Option(help="COLUMN=field; repeatable.")] = None,
    consensus: Annotated[
        str | None, typer.Option(help="Such as union, or majority:quorum=0.8.")
    ] = None,
    scale: Annotated[str, typer.Option(help="Divide by the group's std: group or none.")] = "group",
    segment: Annotated[str, typer.Option(help="Steps to show where nobody reviewed.")] = "line",
    seed: Annotated[int, typer.Option(help="Of the random controls.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with --out.")] = False,
    clean: Annotated[bool, typer.Option("--clean", help="Replace what is in --out.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines, no live display.")] = False,
) -> None:
    """Give each token its credit; nothing is sampled or reviewed again."""
    from apportion.cli.specs import label_of, parse_spec
    from apportion.cli.stage import (
        copy_records,
        default_out,
        open_stage,
        read_input,
        voting,
        write_page,
    )
    from apportion.consensus.options import check_panel
    from apportion.credit import load_method
    from apportion.credit.apply import credit_rollouts
    from apportion.segment import segment as cut

    if scale not in ("group", "none"):
        raise UserError(f"--scale '{scale}': use group or none")
    specs = [parse_spec(text, "method") for text in method]
    methods = {label_of(spec, "method"): load_method(spec) for spec in specs}
    votes = voting(consensus, sources)
    given = read_input(sources, map or [])
    readers = [name for name, built in methods.items() if built.reads_reviews]
    if readers and not given.reviews:
        raise UserError(
            f"{sources[0]}: {', '.join(readers)} needs reviews and there are none: first run "
            f"'apportion review {sources[0]} --reviewer arithmetic'"
        )
    check_panel(votes["rule"], {review.reviewer for review in given.reviews})
    cuts = {r.id: cut(r.text, r.reasoning_end, segment) for r in given.rollouts}
    settings = {
        "stage": "credit",
        "sources": [str(source) for source in sources],
        "methods": specs,
        "consensus": votes,
        "scale": scale,
        "segment": segment,
        "seed": seed,
    }
    folder = out or default_out("credit", sources)
    with open_stage(folder, settings, given.complaints, resume=resume, clean=clean) as run:
        copy_records(run, given)
        present = run.ids("credit")
        with Progress("credit", len(methods) * len(given.rollouts), plain=plain) as progress:
            for name, built in methods.items():
                records = credit_rollouts(
                    given.rollouts,
                    given.reviews,
                    built,
                    name=name,
                    voting=votes,
                    scale=scale,
                    seed=seed,
                    cuts=cuts,
                )
                new = [r for r in records if (r.rollout_id, r.method) not in present]
                run.append("credit", *new)
                progress.advance(len(records))
        run.finish()
    say(f"{plural(len(given.rollouts), 'trace')} credited by {', '.join(methods)}")
    say(str(write_page(folder)))
