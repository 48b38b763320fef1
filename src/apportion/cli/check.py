"""``apportion check``: is a configuration, a task or a reviewer fit for use?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apportion.cli.console import SPEC_HELP, plural, say
from apportion.cli.train import estimate
from apportion.errors import UserError

if TYPE_CHECKING:
    from apportion.review import Reviewer, ReviewerReport

app = typer.Typer(no_args_is_help=True, help="Check a configuration, a task, or a reviewer.")

UNFIT = 1


@app.command("config")
def config(
    recipe: Annotated[str, typer.Argument(help="Recipe file, or the name of a shipped one.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]")] = None,
) -> None:
    """Build every part that a recipe names, without a model."""
    from apportion.config import check_parts, resolve

    resolved = resolve(recipe, overrides or ())
    check_parts(resolved)
    say(f"{resolved.name}: fit. {estimate(resolved)}")


@app.command("task")
def task(
    spec: Annotated[str, typer.Argument(help=f"{SPEC_HELP}; such as words:operations=[2,5].")],
    n: Annotated[int, typer.Option("-n", min=1, help="Problems to try.")] = 100,
) -> None:
    """Score known right and wrong answers of a task; no model is needed."""
    from apportion.cli.specs import parse_spec
    from apportion.tasks import load_task, validate_task

    built = load_task(parse_spec(spec, "kind"))
    complaints = validate_task(built, n)
    for text in complaints[:20]:
        say(text)
    if complaints:
        say(f"{built.name}: unfit, {plural(len(complaints), 'complaint')}")
        raise typer.Exit(UNFIT)
    example = built.problems("test", 1, seed=0)[0]
    say(example.prompt.rstrip())
    gold = built.gold_completion(example)
    if gold is not None:
        say(gold)
    say(f"{built.name}: fit, {plural(n, 'problem')} tried")


@app.command("reviewer")
def reviewer(
    spec: Annotated[str, typer.Argument(help=f"{SPEC_HELP}, or llm:MODEL@URL.")],
    task: Annotated[str, typer.Option(help="Task that plants the errors.")] = "words",
    n: Annotated[int, typer.Option("-n", min=1, help="Problems with planted errors.")] = 50,
    traces: Annotated[
        Path | None, typer.Option(help="FILE|RUN: measure on these instead, by --labels.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="What people say of --traces.")] = None,
    segment: Annotated[str, typer.Option(help="The cut that --labels count in.")] = "line",
    cache: Annotated[Path | None, typer.Option(help="Cache of paid reviews.")] = None,
) -> None:
    """Measure how often a reviewer is right about steps whose verdict is known.

    Status 1 where it is no better than chance (Youden's J not above 0).
    """
    from apportion.cli.specs import parse_spec
    from apportion.review import ReviewCache, load_reviewer, require_trust

    if (traces is None) != (labels is None):
        raise UserError("--traces and --labels belong together: labels are of traces")
    store = ReviewCache(cache) if cache is not None else None
    try:
        built = load_reviewer(parse_spec(spec, "kind"), cache=store)
        if traces is not None and labels is not None:
            report = _on_labels(built, traces, labels, segment)
        else:
            report = _on_task(built, task, n)
    finally:
        if store is not None:
            store.close()
    for line in report.lines():
        say(line)
    try:
        require_trust(report)
    except UserError as error:
        say(f"unfit to train on: {error}")
        raise typer.Exit(UNFIT) from None
    say("fit to train on")


def _on_task(reviewer: Reviewer, task: str, n: int) -> ReviewerReport:
    from apportion.cli.specs import parse_spec
    from apportion.review.check import measure_on_task
    from apportion.tasks import load_task

    report = measure_on_task(reviewer, load_task(parse_spec(task, "kind")), problems=n)
    if report is None:
        raise UserError(f"task {task} cannot plant errors: name another, such as --task words")
    return report


def _on_labels(reviewer: Reviewer, traces: Path, labels: Path, segmenter: str) -> ReviewerReport:
    from apportion.cli.console import complain
    from apportion.imports import read_traces
    from apportion.review.check import measure_on_labels
    from apportion.review.human import HumanReviewer
    from apportion.review.labels import read_labels
    from apportion.review.panel import Item, review_now
    from apportion.segment import segment

    rollouts, complaints = read_traces(traces)
    complain(complaints)
    known = read_labels(labels)
    items = [
        Item(r.problem, r.text, segment(r.text, r.reasoning_end, segmenter), r.outcome, r.id)
        for r in rollouts
        if r.id in known
    ]
    if not items:
        raise UserError(f"{labels}: labels none of the traces of {traces}")
    truth = [row[0] for row in review_now([HumanReviewer(known, "labels")], items)]
    wrong = [f"{review.rollout_id}: {review.error}" for review in truth if review.error]
    complain(wrong)
    return measure_on_labels(reviewer, items, truth)
