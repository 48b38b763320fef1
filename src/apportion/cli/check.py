"""``apportion check``: is a configuration, a task or a reviewer fit for use?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apportion.cli.console import SPEC_HELP, note, plural, say
from apportion.errors import UserError

if TYPE_CHECKING:
    from apportion.review import ReviewerReport
    from apportion.review.check import Case

app = typer.Typer(no_args_is_help=True, help="Check a configuration, a task, or a reviewer.")

UNFIT = 1


@app.command("config")
def config(
    recipe: Annotated[str, typer.Argument(help="Recipe file, or the name of a shipped one.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]")] = None,
) -> None:
    """Build every part that a recipe names, without a model."""
    from apportion.config import check_parts, resolve
    from apportion.config.work import planned_work

    resolved = resolve(recipe, overrides or ())
    check_parts(resolved)
    say(f"{resolved.name}: fit. {planned_work(resolved)}")


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
    policy: Annotated[
        str | None, typer.Option(help="Whose weights review (reviewers self and persona).")
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(help="Prompt to use: a shipped one or a file. Repeat to compare prompts."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure how often a reviewer is right about steps whose verdict is known.

    With several prompts: side by side, with the change against the first and its interval.
    Status 1 where it is not shown to be better than chance (the interval of Youden's J is not
    above 0), under any prompt.
    """
    from apportion.cli.reviewing import bind_reviewers
    from apportion.cli.specs import parse_spec
    from apportion.review import ReviewCache, load_reviewer
    from apportion.review.check import measure_cases
    from apportion.review.prompt_change import compare_prompts

    store = ReviewCache(cache) if cache is not None else None
    try:
        base = parse_spec(spec, "kind")
        specs = [base | {"prompt": name} for name in prompt or ()] or [base]
        built = [load_reviewer(one, cache=store) for one in specs]
        bind_reviewers(built, policy)
        cases = _labelled(traces, labels, segment) if traces or labels else _planted(task, n)
        if len(built) > 1:
            comparison = compare_prompts(list(zip(prompt or (), built, strict=True)), cases)
            reports = [result.report for result in comparison.prompts]
            text = comparison.model_dump_json(indent=2) if as_json else comparison.lines()
        else:
            reports = [measure_cases(built[0], cases).report]
            text = reports[0].model_dump_json(indent=2) if as_json else reports[0].lines()
    finally:
        if store is not None:
            store.close()
    for line in [text] if isinstance(text, str) else text:
        say(line)
    _judge(reports, prompt or [""], note if as_json else say)


def _judge(
    reports: Sequence[ReviewerReport], prompts: Sequence[str], tell: Callable[[str], None]
) -> None:
    """Say which are fit to train on; exit with status 1 where one is not."""
    from apportion.review import require_trust

    unfit = 0
    for name, report in zip(prompts, reports, strict=True):
        under = f"{name}: " if len(reports) > 1 else ""
        try:
            require_trust(report)
        except UserError as error:
            unfit += 1
            tell(f"{under}unfit to train on: {error}")
        else:
            tell(f"{under}fit to train on")
    if unfit:
        raise typer.Exit(UNFIT)


def _planted(task: str, n: int) -> list[Case]:
    from apportion.cli.specs import parse_spec
    from apportion.review.check import task_cases
    from apportion.tasks import load_task

    cases = task_cases(load_task(parse_spec(task, "kind")), problems=n)
    if not cases:
        raise UserError(f"task {task} cannot plant errors: name another, such as --task words")
    return cases


def _labelled(traces: Path | None, labels: Path | None, segmenter: str) -> list[Case]:
    from apportion.cli.console import complain
    from apportion.imports import read_traces
    from apportion.review.check import labelled_cases
    from apportion.review.human import HumanReviewer
    from apportion.review.labels import read_labels
    from apportion.review.panel import Item, review_now
    from apportion.segment import segment

    if traces is None or labels is None:
        raise UserError("--traces and --labels belong together: labels are of traces")
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
    return labelled_cases(items, truth)
