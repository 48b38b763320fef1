"""``apportion sample``: problems of a recipe's task, completed by its policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apportion.cli.console import Progress, plural, say
from apportion.cli.options import Clean, Plain, Resume
from apportion.errors import UserError
from apportion.trace import Problem, Rollout

if TYPE_CHECKING:
    from apportion.config import RunConfig
    from apportion.policies import Policy
    from apportion.tasks import Task

_PROBLEMS_AT_ONCE = 16


def sample(
    recipe: Annotated[str, typer.Argument(help="Recipe file, or the name of a shipped one.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]", help="Such as policy.checkpoint=runs/x/dca-s0."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Directory; default runs/sample-NAME.")] = None,
    problems: Annotated[int, typer.Option(min=1, help="How many problems.")] = 32,
    completions: Annotated[int, typer.Option("--completions", "-n", min=1, help="Of each.")] = 8,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "validation",
    seed: Annotated[int, typer.Option(min=0, help="Of the sampling.")] = 0,
    reviewer_token: Annotated[
        str | None, typer.Option(help="Lean to the style of this reviewer, or none.")
    ] = None,
    in_sight: Annotated[
        str | None,
        typer.Option(
            help="Prompt that shows the gold answer: neutral, suppressed, skeleton, or a file."
        ),
    ] = None,
    guide: Annotated[
        str | None,
        typer.Option(help="flow: a trained helper (helper.checkpoint) leads to the answer."),
    ] = None,
    strength: Annotated[float, typer.Option(help="Of --guide; 1 draws from the helper.")] = 1.0,
    search: Annotated[
        str | None,
        typer.Option(help="best-of-n or beam: one completion each, chosen among -n by --judge."),
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="Reviewer for --search, such as step_model:path=FOLDER.")
    ] = None,
    width: Annotated[int, typer.Option(min=1, help="Beams, for --search beam.")] = 4,
    resume: Resume = False,
    clean: Clean = False,
    plain: Plain = False,
) -> None:
    """Sample completions and score them; no review, no training."""
    from apportion.cli.searching import searching
    from apportion.cli.stage import open_stage, write_page
    from apportion.cli.train import need_training
    from apportion.config import resolve
    from apportion.tasks import load_task

    wanted = "null" if reviewer_token == "none" else reviewer_token
    leaning = [] if wanted is None else [f"policy.reviewer_token={wanted}"]
    config = resolve(recipe, [*(overrides or ()), *leaning])
    if split not in ("train", "validation", "test"):
        raise UserError(f"--split '{split}': use train, validation or test")
    task = load_task(config.task)
    if config.policy.kind != "scripted":
        need_training()
    settings = {
        "stage": "sample",
        "task": config.task,
        "policy": config.policy.model_dump(mode="json", exclude_none=True),
        "temperature": config.train.temperature,
        "max_completion_tokens": config.train.max_completion_tokens,
        "problems": problems,
        "completions": completions,
        "split": split,
        "seed": seed,
    }
    settings |= {} if in_sight is None else {"in_sight": in_sight}
    if search is not None:
        settings |= {"search": search, "judge": judge, "width": width}
    if guide is not None:
        helper = config.helper.model_dump(mode="json", exclude_none=True)
        settings |= {"guide": guide, "strength": strength, "helper": helper}
    folder = out or Path("runs") / f"sample-{config.name}"
    policy = _policy(config)  # before the directory: a wrong path leaves nothing behind
    if guide is not None:
        from apportion.cli.guiding import guided

        policy = guided(policy, guide, strength, config)
    draw = policy.sample if in_sight is None else _in_sight(policy, in_sight)
    each = completions if search is None else 1
    if search is not None or judge is not None:
        draw = searching(policy, search, judge, completions, width, in_sight, config.segment)
    chosen: list[Problem] = task.problems(split, problems, seed)  # type: ignore[arg-type]
    with open_stage(folder, settings, [], resume=resume, clean=clean) as run:
        done = Counter(str(name).rsplit("/", 1)[0] for name in run.ids("rollouts"))
        left = [p for p in chosen if done[f"{p.id}/s{seed}"] < each]
        if left:
            with Progress("sample", len(left) * each, plain=plain) as progress:
                for start in range(0, len(left), _PROBLEMS_AT_ONCE):
                    batch = left[start : start + _PROBLEMS_AT_ONCE]
                    rollouts = draw(
                        batch,
                        n=each,
                        temperature=config.train.temperature,
                        max_tokens=config.train.max_completion_tokens,
                        seed=seed,
                        reasoning_end=task.reasoning_end,
                    )
                    present = run.ids("rollouts")
                    new = [_scored(task, r) for r in rollouts if r.id not in present]
                    run.append("rollouts", *new)
                    progress.advance(len(rollouts))
        say(_summary(run.read("rollouts")[0]))
        run.finish()
    say(str(write_page(folder)))


def _policy(config: RunConfig) -> Policy:
    from apportion.policies import load_policy

    return load_policy(config.policy.model_dump(exclude_none=True))


def _in_sight(policy: Policy, prompt: str) -> Callable[..., list[Rollout]]:
    from apportion.policies.hint import load_hint
    from apportion.policies.in_sight import sample_in_sight

    load_hint(prompt)  # a wrong name is refused before anything is written
    return lambda problems, **options: sample_in_sight(policy, problems, prompt, **options)


def _scored(task: Task, rollout: Rollout) -> Rollout:
    return rollout.model_copy(update={"outcome": task.score(rollout.problem, rollout.text)})


def _summary(rollouts: list[Rollout]) -> str:
    known = [rollout.outcome for rollout in rollouts if rollout.outcome is not None]
    right = sum(outcome >= 0.5 for outcome in known)
    undecided = len(rollouts) - len(known)
    share = f", {right:,} of {len(known):,} right ({right / len(known):.1%})" if known else ""
    return f"{plural(len(rollouts), 'completion')}{share}" + (
        f", {undecided:,} undecided" if undecided else ""
    )
