"""``apportion probe``: is the chain the reason for the answer?"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apportion.cli.console import SPEC_HELP, Progress, note, plural, say
from apportion.cli.options import Plain, Segmenter
from apportion.errors import UserError

if TYPE_CHECKING:
    from apportion.cli.probing import Target
    from apportion.faithfulness import Measure, Probe, Subject
    from apportion.faithfulness.run import Outcome
    from apportion.records import RunDirectory

# Latent chains that are written out for the page.
_WRITTEN_OUT = 16


def probe(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN|MODEL|TRACES", help="A run, a model folder or name, or traces."
        ),
    ],
    measure: Annotated[
        list[str] | None,
        typer.Option(
            "--measure", "-m", help=f"{SPEC_HELP}; repeatable. See apportion ls measures."
        ),
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="Whose traces these are: tiny, or SPEC.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Problems and checker; default: the run's.")
    ] = None,
    problems: Annotated[int, typer.Option(min=1, help="How many, where chains are sampled.")] = 100,
    split: Annotated[str, typer.Option(help="Of those problems.")] = "test",
    segment: Segmenter = "line",
    max_tokens: Annotated[int, typer.Option(min=1, help="Of a chain.")] = 128,
    seed: Annotated[int, typer.Option(min=0, help="Of sampling and choices.")] = 0,
    sample_only: Annotated[
        bool, typer.Option("--sample-only", help="Do without probabilities.")
    ] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Say how many tokens it takes, and stop.")
    ] = False,
    budget: Annotated[int | None, typer.Option(min=1, help="Tokens to spend at most.")] = None,
    until: Annotated[
        float | None, typer.Option(min=0.0, help="Stop at intervals of plus or minus this.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Directory; default the run itself.")] = None,
    clean: Annotated[bool, typer.Option("--clean", help="Drop earlier probes.")] = False,
    plain: Plain = False,
) -> None:
    """Measure faithfulness; what is already measured is not measured again."""
    from apportion.cli.probing import find_target, open_out, settings_of
    from apportion.cli.specs import parse_spec
    from apportion.cli.stage import write_page
    from apportion.cli.train import need_training
    from apportion.faithfulness import Subject, load_measure
    from apportion.faithfulness.run import estimate_all, probe_all

    need_training()
    from transformers.utils import logging

    logging.disable_progress_bar()
    wanted = [parse_spec(text, "name") for text in measure or ["early_answering", "step_deletion"]]
    measures = [load_measure(spec) for spec in wanted]
    if len({m.name for m in measures}) < len(measures):
        raise UserError("--measure: one of them is named twice")
    target = find_target(source, policy, task, problems, split, max_tokens, seed)
    subject = Subject(
        target.policy, target.task, segmenter=segment, max_tokens=max_tokens, seed=seed,
        sample_only=sample_only,
    )  # fmt: skip
    for one in measures:
        one.ready(subject)
    if estimate:
        _say_estimate(estimate_all(subject, measures, target.rollouts, {}), target)
        return
    settings = settings_of(measures, subject)
    with open_out(target, out, clean) as run:
        done = _done(_recorded(run.read("probes")[0], settings, run.path))
        left = len(measures) * len(target.rollouts) - sum(map(len, done.values()))
        if not subject.exact:
            note(f"policy '{target.policy.name}': no log-probabilities are used, samples only")
        with Progress("probe", left, plain=plain) as progress:

            def write(found: Probe) -> None:
                meta = found.meta | {"settings": settings[found.measure]}
                run.append("probes", found.model_copy(update={"meta": meta}))
                progress.advance()

            found = probe_all(
                subject, measures, target.rollouts, done=done, write=write, until=until,
                budget=budget,
            )  # fmt: skip
        probes = _newest(_recorded(run.read("probes")[0], settings, run.path))
        for one in measures:
            _say_found(one, found[one.name], probes.get(one.name, []), subject)
        _write_latents(run, subject, target)
    say(str(run.path / "probes.jsonl"))
    say(str(write_page(run.path)))


def _write_latents(run: RunDirectory, subject: Subject, target: Target) -> None:
    """Some latent chains step by step, for the page of the run."""
    if not subject.latent:
        return
    from apportion.faithfulness.latent.chains import written_out

    present = run.ids("latents")
    chains = written_out(subject, target.rollouts[:_WRITTEN_OUT])
    run.append("latents", *(c for c in chains if (c.rollout_id, c.update) not in present))


def _done(recorded: dict[str, list[Probe]]) -> dict[str, list[Probe]]:
    """Without what failed because a monitor could not be reached: that is asked again."""
    return {
        name: [probe for probe in probes if not probe.meta.get("again")]
        for name, probes in _newest(recorded).items()
    }


def _newest(recorded: dict[str, list[Probe]]) -> dict[str, list[Probe]]:
    """The last probe of each chain."""
    return {
        name: list({(probe.rollout_id, probe.update): probe for probe in probes}.values())
        for name, probes in recorded.items()
    }


def _recorded(
    probes: list[Probe], settings: dict[str, str], folder: Path
) -> dict[str, list[Probe]]:
    """What is there already, by measure. Raises UserError where it was measured otherwise."""
    found: dict[str, list[Probe]] = defaultdict(list)
    for one in probes:
        if one.measure in settings and "settings" in one.meta:
            if one.meta["settings"] != settings[one.measure]:
                raise UserError(
                    f"{folder}: measure {one.measure} was begun there with other options: use the "
                    "same, choose another --out, or drop the old probes by --clean"
                )
            found[one.measure].append(one)
    return found


def _say_estimate(tokens: dict[str, int], target: Target) -> None:
    for name, count in tokens.items():
        say(f"{name}: at most {count:,} tokens")
    say(f"{plural(len(target.rollouts), 'chain')}, at most {sum(tokens.values()):,} tokens")


def _partly(probe: Probe) -> bool:
    tried, steps = probe.meta.get("tried", (0, 0))
    return tried < steps


def _say_found(measure: Measure, outcome: Outcome, probes: list[Any], subject: Subject) -> None:
    failed = [one.error for one in probes if one.error is not None]
    tokens = sum(one.tokens for one in probes)
    for name, figure in outcome.figures.items():
        interval = "" if figure.low is None else f" [{figure.low:.3f}, {figure.high:.3f}]"
        label = measure.name if name == "value" else f"  {name}"
        say(f"{label}: {figure.value:.3f}{interval} over {plural(figure.n, 'problem')}")
    if "value" not in outcome.figures:
        say(f"{measure.name}: nothing to say of these chains")
    if failed:
        say(f"  {plural(len(failed), 'chain')} not measured: {failed[0]}")
    partly = [one.meta["tried"] for one in probes if _partly(one)]
    if partly:
        tried, steps = max(partly, key=lambda pair: pair[1])
        say(f"  {plural(len(partly), 'chain')} tried in part only: {tried} of up to {steps} steps")
    if outcome.stopped:
        say(f"  stopped by the {outcome.stopped}")
    note(f"  by {subject.scoring}, {tokens:,} tokens; higher: {measure.higher}")
    note(f"  blind to: {measure.blind}")
