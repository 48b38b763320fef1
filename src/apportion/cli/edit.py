"""``apportion edit``: reviewed chains to edited ones, of which those that still answer are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apportion.cli.console import SPEC_HELP, say
from apportion.cli.options import Clean, Columns, Consensus, Plain, Resume, ReviewedTraces


def edit(
    sources: ReviewedTraces,
    operation: Annotated[
        list[str], typer.Option("--operation", help="See apportion ls operations; repeatable.")
    ],
    policy: Annotated[
        str | None,
        typer.Option("--policy", "-p", help=f"Who answers again, and goes on: {SPEC_HELP}."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="What scores; default: the task of the run.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Directory; default runs/edit-NAME.")] = None,
    samples: Annotated[int, typer.Option("--samples", "-n", min=1, help="Answers to each.")] = 1,
    temperature: Annotated[float, typer.Option(min=0.0, help="Of the answers; 0 is greedy.")] = 0.0,
    threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of right answers to be kept.")
    ] = 1.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of an answer.")] = 256,
    probe: Annotated[bool, typer.Option("--probe", help="Ask the policy where cut cuts.")] = False,
    reviewer: Annotated[
        list[str] | None,
        typer.Option("--reviewer", "-r", help="Who objects, for operation revise; repeatable."),
    ] = None,
    principles: Annotated[
        str, typer.Option(help="For operation revise: a shipped name or a text file.")
    ] = "reasoning",
    tries: Annotated[int, typer.Option(min=1, help="Rewritings, for operation revise.")] = 4,
    map: Columns = None,
    consensus: Consensus = None,
    segment: Annotated[str, typer.Option(help="Steps of --probe and of rewritings.")] = "line",
    seed: Annotated[int, typer.Option(min=0, help="Of the answers and rewritings.")] = 0,
    resume: Resume = False,
    clean: Clean = False,
    plain: Plain = False,
) -> None:
    """Rewrite chains by what their reviewers agree on; answer from them again with --policy."""
    from apportion.cli import stage
    from apportion.cli.editing import Work, edit_missing, edit_summary, task_of
    from apportion.cli.specs import parse_spec

    votes = stage.voting(consensus, sources)
    given = stage.read_input(sources, map or [])
    stage.require_reviews(given, sources[0], "editing")
    scorer = parse_spec(task, "kind") if task is not None else task_of(sources[0])
    judge = parse_spec(policy, "kind") if policy is not None else None
    settings = {
        "stage": "edit",
        "sources": [str(source) for source in sources],
        "operations": operation,
        "policy": judge,
        "task": scorer,
        "answers": {
            "samples": samples,
            "temperature": temperature,
            "threshold": threshold,
            "max_tokens": max_tokens,
        },
        "probe": probe,
        "revise": {
            "reviewers": [parse_spec(text, "kind") for text in reviewer or []],
            "principles": principles,
            "tries": tries,
        },
        "consensus": votes,
        "segment": segment,
        "seed": seed,
    }
    work = Work.of(settings)  # refuses what is wrong before anything is written
    folder = out or stage.default_out("edit", sources)
    with stage.open_stage(folder, settings, given.complaints, resume=resume, clean=clean) as run:
        stage.copy_records(run, given)
        edit_missing(run, given, work, plain)
        for line in edit_summary(run.read("edits")[0]):
            say(line)
        run.finish()
    say(str(stage.write_page(folder)))
