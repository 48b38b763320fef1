"""``apportion train``: a recipe to a run directory."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from apportion.cli.console import note, say
from apportion.cli.options import Plain
from apportion.errors import UserError
from apportion.records import is_run


def train(
    recipe: Annotated[
        str, typer.Argument(help="Recipe file, name of a shipped one, or with --resume a run.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]", help="Such as credit.method=capo seed=3."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory; default runs/NAME.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Such as 0..4 or 0,1,2.")] = None,
    arms: Annotated[
        str | None, typer.Option(help="Train these arms alone, such as outcome,dca.")
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Arms and seeds to train at once, each in a process.")
    ] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was interrupted.")
    ] = False,
    clean: Annotated[bool, typer.Option("--clean", help="Replace the run in --out.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved configuration and the work.")
    ] = False,
    plain: Plain = False,
) -> None:
    """Train every arm of a recipe with every seed, and write the report."""
    from apportion.config import check_parts, choose_arms, parse_seeds, resolve
    from apportion.config.work import planned_work

    wanted = list(overrides or ())
    if seeds is not None:
        wanted.append(f"seeds={parse_seeds(seeds)}")
    if is_run(Path(recipe)):
        if not resume or out is not None:
            raise UserError(f"{recipe} is a run: go on with it by --resume alone, or name a recipe")
        recipe, out = str(Path(recipe) / "config.yaml"), Path(recipe)
    config = resolve(recipe, wanted)
    if arms is not None:
        config = choose_arms(config, [name.strip() for name in arms.split(",")])
    check_parts(config)
    if dry_run:
        import yaml

        say(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
        note(planned_work(config))
        return
    need_training()
    from apportion.train.run import run_recipe

    folder = out or Path("runs") / config.name
    result = run_recipe(
        config,
        folder,
        resume=resume,
        clean=clean,
        plain=plain,
        processes=jobs,
        command=list(sys.argv),
    )
    say(str(result))


def need_training() -> None:
    """Raises UserError where the extra ``train`` is not installed."""
    missing = [name for name in ("torch", "transformers", "trl") if find_spec(name) is None]
    if missing:
        raise UserError(
            f"training needs {', '.join(missing)}: pip install 'apportion[train]' "
            "(on a machine without GPU add -c constraints.txt, which picks the CPU build)"
        )
