"""``apportion distil``: recorded reviews to a step model that judges in microseconds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apportion.cli.console import SPEC_HELP, note, plural, say
from apportion.errors import UserError

if TYPE_CHECKING:
    from apportion.trace import Review, Rollout
    from apportion.train.distil import Measured
    from apportion.train.step_model import Examples, Fit


def distil(
    sources: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Traces with reviews; arms are all taken.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the step model.")],
    reviewer: Annotated[
        str | None, typer.Option("--reviewer", "-r", help="Whose reviews; where there are several.")
    ] = None,
    target: Annotated[
        str, typer.Option(help="reviews, or outcome: a value learned from outcomes alone.")
    ] = "reviews",
    task: Annotated[
        str | None, typer.Option(help="Measure on its planted errors; SPEC such as words.")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help=f"Measure it beside the model: {SPEC_HELP}.")
    ] = None,
    problems: Annotated[int, typer.Option("-n", min=1, help="Problems to measure on.")] = 50,
    hidden: Annotated[int, typer.Option(min=1, help="Hidden units.")] = 32,
    epochs: Annotated[int, typer.Option(min=1, help="At most so many.")] = 60,
    segment: Annotated[str, typer.Option(help="The cut, for --target outcome.")] = "line",
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Train a small step model on reviews and measure it beside its teacher."""
    from apportion.cli.specs import parse_spec
    from apportion.cli.train import need_training
    from apportion.review import load_reviewer
    from apportion.tasks import load_task

    if target not in ("reviews", "outcome"):
        raise UserError(f"--target '{target}': use reviews or outcome")
    if teacher is not None and task is None:
        raise UserError("--teacher is measured on planted errors: say of which --task")
    need_training()
    built = load_task(parse_spec(task, "kind")) if task is not None else None
    asked = load_reviewer(parse_spec(teacher, "kind")) if teacher is not None else None

    from apportion.train.distil import beside_teacher
    from apportion.train.step_model import fit

    rollouts, reviews = _read(sources)
    name = "outcome" if target == "outcome" else _teacher_name(reviews, reviewer, sources)
    examples = _examples(rollouts, reviews, target, name, segment)
    of_problems = plural(len(set(examples.problems)), "problem")
    note(f"{plural(len(examples), 'judged step')} of {of_problems}")
    found = fit(
        examples,
        teacher=name,
        target="outcome" if target == "outcome" else "reviews",
        hidden=hidden,
        epochs=epochs,
        seed=seed,
    )
    found.model.save(out)
    for line in _fit_lines(found):
        say(line)
    beside = beside_teacher(found.model, built, asked, problems=problems) if built else {}
    for label, measured in beside.items():
        say(measured.line({"equal_fpr": "step_model, same FPR"}.get(label, label)))
    if built is not None and not beside:
        note(f"task {task} plants no errors: the model was not measured on any")
    _write_report(out, found, beside)
    say(f"{out}: use it as --reviewer step_model:path={out}")


def _read(sources: Sequence[Path]) -> tuple[list[list[Rollout]], list[list[Review]]]:
    """Per run, since ids are unique within one only."""
    from apportion.cli.stage import read_input

    rollouts, reviews = [], []
    for source in sources:
        arms = sorted(file.parent for file in source.glob("*/rollouts.jsonl"))
        for part in arms if arms and not (source / "rollouts.jsonl").is_file() else [source]:
            given = read_input([part], [])
            rollouts.append(given.rollouts)
            reviews.append(given.reviews)
    return rollouts, reviews


def _teacher_name(
    reviews: Sequence[Sequence[Review]], wanted: str | None, sources: Sequence[Path]
) -> str:
    names = sorted({review.reviewer for of_one in reviews for review in of_one})
    where = ", ".join(map(str, sources))
    if not names:
        raise UserError(f"{where}: no reviews to learn from; first run 'apportion review'")
    if wanted is None and len(names) > 1:
        raise UserError(f"{where}: reviews of {', '.join(names)}: say which with --reviewer")
    if wanted is not None and wanted not in names:
        raise UserError(f"{where}: no review of '{wanted}', only of {', '.join(names)}")
    return wanted or names[0]


def _examples(
    rollouts: Sequence[Sequence[Rollout]],
    reviews: Sequence[Sequence[Review]],
    target: str,
    name: str,
    segmenter: str,
) -> Examples:
    from apportion.segment import segment as cut
    from apportion.train.step_model import from_outcomes, from_reviews, together

    if target == "outcome":
        made = [
            from_outcomes(some, {r.id: cut(r.text, r.reasoning_end, segmenter) for r in some})
            for some in rollouts
        ]
    else:
        made = [
            from_reviews(some, [review for review in theirs if review.reviewer == name])
            for some, theirs in zip(rollouts, reviews, strict=True)
        ]
    return together(made)


def _fit_lines(found: Fit) -> list[str]:
    agreement = found.agreement
    assert agreement is not None and agreement.low is not None and agreement.high is not None
    facts = found.model.facts
    return [
        f"{plural(found.model.parameters, 'parameter')}, {plural(found.epochs, 'epoch')}, "
        f"learned from {facts.teacher}",
        f"on {plural(found.held_out, 'step')} of held-out problems: says what {facts.teacher} "
        f"allows in {agreement.value:.3f} [{agreement.low:.3f}, {agreement.high:.3f}], "
        f"log loss {found.loss:.3f} (frequencies {found.base_loss:.3f}), "
        f"squared error of P(harmful) {found.brier:.3f} (frequency {found.base_brier:.3f})",
    ]


def _write_report(out: Path, found: Fit, beside: dict[str, Measured]) -> None:
    agreement = found.agreement
    report: dict[str, Any] = {
        "parameters": found.model.parameters,
        "epochs": found.epochs,
        "held_out_steps": found.held_out,
        "agreement": None if agreement is None else vars(agreement),
        "log_loss": found.loss,
        "base_log_loss": found.base_loss,
        "brier": found.brier,
        "base_brier": found.base_brier,
        "planted_errors": {name: measured.as_json() for name, measured in beside.items()},
    }
    text = json.dumps(report, indent=1) + "\n"
    (out / "report.json").write_text(text, encoding="utf-8")
