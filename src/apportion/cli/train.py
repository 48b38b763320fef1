"""``apportion train``: a recipe to a run directory."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apportion.cli.console import note, plural, say
from apportion.errors import UserError

if TYPE_CHECKING:
    from apportion.config import RunConfig


def train(
    recipe: Annotated[str, typer.Argument(help="Recipe file, or the name of a shipped one.")],
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
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    clean: Annotated[bool, typer.Option("--clean", help="Replace the run in --out.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved configuration and the work.")
    ] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines, no live display.")] = False,
) -> None:
    """Train every arm of a recipe with every seed, and write the report."""
    from apportion.config import check_parts, choose_arms, parse_seeds, resolve

    wanted = list(overrides or ())
    if seeds is not None:
        wanted.append(f"seeds={parse_seeds(seeds)}")
    config = resolve(recipe, wanted)
    if arms is not None:
        config = choose_arms(config, [name.strip() for name in arms.split(",")])
    check_parts(config)
    if dry_run:
        import yaml

        say(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
        note(estimate(config))
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


def estimate(config: RunConfig) -> str:
    """How much work the run is, in rollouts and evaluations."""
    from apportion.config import expand_arms

    runs = expand_arms(config)
    names = dict.fromkeys(name for name, _, _ in runs)
    if config.objective == "warm_start":
        return f"{config.objective}: {plural(config.warm_start.problems, 'problem')}"
    if config.objective in ("latent", "flow"):
        examples = plural(config.train.updates * config.train.prompts_per_update, "answer")
        return f"{config.objective}: {plural(len(runs), 'job')} of {examples} to learn"
    if config.objective == "evolution":
        tried = sum(arm.train.updates * arm.evolution.population for _, _, arm in runs)
        problems = plural(config.train.prompts_per_update, "problem")
        return f"evolution: {plural(len(runs), 'job')}, {tried:,} perturbations × {problems}"
    if config.objective == "persona":
        work = plural(config.persona.updates, "update")
        return f"persona: {plural(len(runs), 'job')} of {work} on planted misbehaviour"
    if config.objective == "reviewer_tokens":
        tokens = config.reviewer_tokens
        updates = plural(tokens.gold_updates + tokens.updates, "update")
        sampled = plural(tokens.problems * tokens.group_size, "sampled rollout")
        return f"reviewer_tokens: {plural(len(runs), 'job')} of {sampled} and {updates}"
    offline = [arm for _, _, arm in runs if arm.objective in ("sft_on_edits", "dpo_on_edits")]
    chains = sum(arm.train.updates * arm.train.epochs * arm.edits.batch_size for arm in offline)
    chained = ("trice", "star", "rejection", "em")
    remembering = [arm for _, _, arm in runs if arm.objective in chained]
    proposed = sum(_chains(arm) for arm in remembering)
    sampling = [arm for _, _, arm in runs if arm not in offline and arm not in remembering]
    rollouts = sum(arm.train.updates * arm.train.rollouts_per_update for arm in sampling)
    evaluated = sum(_evaluations(arm) for _, _, arm in runs)
    edited = f"{plural(chains, 'edited chain')}, " if offline else ""
    remembered = f"{plural(proposed, 'chain')} without a hint, " if remembering else ""
    trained = f"{plural(rollouts, 'training rollout')}, " if sampling else ""
    per_update = f" × {plural(config.train.rollouts_per_update, 'rollout')}" if sampling else ""
    return (
        f"{plural(len(names), 'arm')} × {plural(len(config.seeds), 'seed')} × "
        f"{plural(config.train.updates, 'update')}{per_update}: "
        f"{trained}{remembered}{edited}"
        f"{plural(evaluated, 'evaluation completion')}"
    )


def _chains(arm: RunConfig) -> int:
    """Chains that the policy writes for objectives that remember them; a guide's come on top."""
    settings = arm.trice
    if arm.objective == "em":
        return arm.train.updates * arm.train.prompts_per_update * arm.em.samples
    if arm.objective != "trice":
        return settings.problems * settings.samples * settings.rounds
    fill = settings.tries * settings.problems if settings.bootstrap == "policy" else 0
    return fill + arm.train.updates * arm.train.prompts_per_update


def _evaluations(arm: RunConfig) -> int:
    every = arm.eval.every
    during = 1 + (arm.train.updates * arm.train.epochs // every if every else 0)
    return during * arm.eval.problems + arm.eval.final_problems * (1 + arm.eval.samples)


def need_training() -> None:
    """Raises UserError where the extra ``train`` is not installed."""
    missing = [name for name in ("torch", "transformers", "trl") if find_spec(name) is None]
    if missing:
        raise UserError(
            f"training needs {', '.join(missing)}: pip install 'apportion[train]' "
            "(on a machine without GPU add -c constraints.txt, which picks the CPU build)"
        )
