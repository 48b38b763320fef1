"""The verbs, and what becomes of errors: one line on stderr and a status, never a traceback."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from apportion.cli import (
    agree,
    ask,
    check,
    compare,
    cost,
    credit,
    detect,
    distil,
    edit,
    export,
    listing,
    probe,
    review,
    sample,
    train,
    verdicts,
)
from apportion.errors import UserError

BAD_INPUT = 2
INTERRUPTED = 130


class _Group(TyperGroup):
    """Turns the two exceptions that a user can cause into an exit status."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            typer.echo(f"apportion: {error}", err=True)
            raise typer.Exit(BAD_INPUT) from None
        except KeyboardInterrupt:
            typer.echo("apportion: interrupted; what is done is saved: add --resume", err=True)
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    cls=_Group,
    help="Train language models to reason, and give each thought the credit it earned.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("sample")(sample.sample)
app.command("review")(review.review)
app.command("agree")(agree.agree)
app.command("credit")(credit.credit)
app.command("edit")(edit.edit)
app.command("ask")(ask.ask)
app.command("compare")(compare.compare)
app.command("verdicts")(verdicts.verdicts)
app.command("detect")(detect.detect)
app.command("probe")(probe.probe)
app.command("export")(export.export)
app.command("cost")(cost.cost)
app.command("distil")(distil.distil)
app.command("ls")(listing.ls)
app.command("cp")(listing.cp)
app.add_typer(check.app, name="check")


def _print_version(wanted: bool) -> None:
    if wanted:
        from apportion import __version__

        typer.echo(__version__)
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print and exit."),
    ] = False,
) -> None:
    """Train language models to reason, and give each thought the credit it earned."""


def main() -> None:
    """Entry point of the ``apportion`` command."""
    sys.exit(app())
