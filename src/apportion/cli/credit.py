"""``apportion credit``: recorded rollouts and reviews to a number per token, by any method."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apportion.cli.console import SPEC_HELP, Progress, plural, say
from apportion.cli.options import Clean, Columns, Consensus, Plain, Resume, ReviewedTraces
from apportion.errors import UserError


def credit(
    sources: ReviewedTraces,
    method: Annotated[list[str], typer.Option("--method", "-m", help=f"{SPEC_HELP}; repeatable.")],
    out: Annotated[Path | None, typer.Option(help="Directory; default runs/credit-NAME.")] = None,
    map: Columns = None,
    consensus: Consensus = None,
    scale: Annotated[str, typer.Option(help="Divide by the group's std: group or none.")] = "group",
    segment: Annotated[str, typer.Option(help="Steps to show where nobody reviewed.")] = "line",
    seed: Annotated[int, typer.Option(help="Of the random controls.")] = 0,
    resume: Resume = False,
    clean: Clean = False,
    plain: Plain = False,
) -> None:
    """Give each token its credit; nothing is sampled or reviewed again."""
    from apportion.cli import stage
    from apportion.cli.specs import label_of, parse_spec
    from apportion.consensus.options import check_panel
    from apportion.credit import load_method
    from apportion.credit.apply import credit_rollouts
    from apportion.segment import segment as cut

    if scale not in ("group", "none"):
        raise UserError(f"--scale '{scale}': use group or none")
    specs = [parse_spec(text, "method") for text in method]
    methods = {label_of(spec, "method"): load_method(spec) for spec in specs}
    votes = stage.voting(consensus, sources)
    given = stage.read_input(sources, map or [])
    readers = [name for name, built in methods.items() if built.reads_reviews]
    if readers:
        stage.require_reviews(given, sources[0], ", ".join(readers))
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
    folder = out or stage.default_out("credit", sources)
    with stage.open_stage(folder, settings, given.complaints, resume=resume, clean=clean) as run:
        stage.copy_records(run, given)
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
    say(str(stage.write_page(folder)))
