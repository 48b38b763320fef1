"""``apportion detect``: signs of gaming in traces, and whether what is flagged does anything."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apportion.cli.console import plural, say
from apportion.cli.options import AsJson, Columns, Segmenter
from apportion.errors import UserError
from apportion.trace import Rollout

if TYPE_CHECKING:
    from apportion.detect import Detection
    from apportion.stats import Estimate

_SHOWN = 200  # characters of a flagged step


def detect(
    sources: Annotated[
        list[Path], typer.Argument(metavar="FILE|RUN", help="Traces: see docs/records.md.")
    ],
    map: Columns = None,
    segment: Segmenter = "line",
    show: Annotated[int, typer.Option(min=0, help="Flagged steps to print of each kind.")] = 3,
    policy: Annotated[
        str | None,
        typer.Option(help="Take each flagged step out and let this policy answer: tiny, or SPEC."),
    ] = None,
    task: Annotated[str, typer.Option(help="Whose answers --policy gives.")] = "words",
    label: Annotated[
        str | None,
        typer.Option(help="With --policy: test the steps that recorded reviews label so, too."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find checks for show, padding, merged steps and caught mistakes."""
    from apportion.cli.stage import read_input
    from apportion.detect import find_all, norm_for
    from apportion.segment import segment as cut

    if label is not None and label not in ("useful", "irrelevant", "harmful"):
        raise UserError(f"--label '{label}': use useful, irrelevant or harmful")
    if label is not None and policy is None:
        raise UserError("--label is tested by taking steps out: say by which --policy")
    given = read_input(sources, map or [])
    if label is not None and not given.reviews:
        raise UserError(f"{sources[0]}: --label needs reviews and there are none beside the traces")
    found = {
        r.id: find_all(r, cut(r.text, r.reasoning_end, segment), norm=norm_for(r.problem))
        for r in given.rollouts
    }
    rates = _rates(list(found.values()))
    tested = _tested(policy, task, given.rollouts, found, given.reviews, label) if policy else {}
    if as_json:
        say(json.dumps(_as_json(given.rollouts, found, rates, tested), indent=1))
        return
    say(plural(len(given.rollouts), "trace"))
    for kind, rate in rates.items():
        say(f"{kind}: {_shown(rate)} of the steps")
        _say_examples(given.rollouts, found, kind, show)
    for kind, share in tested.items():
        say(f"without it the same answer, {kind}: {_shown(share)} of {share.n:,}")


def _rates(found: Sequence[Mapping[str, Detection]]) -> dict[str, Estimate]:
    """Mean rate over traces, with an interval from resampling them."""
    from apportion.detect import DETECTORS
    from apportion.stats import mean, stratified_bootstrap

    rates = {}
    for kind in DETECTORS:
        estimate = stratified_bootstrap([d[kind].rate for d in found], statistic=mean)
        if estimate is not None:
            rates[kind] = estimate
    return rates


def _tested(
    policy: str,
    task: str,
    rollouts: Sequence[Rollout],
    found: Mapping[str, Mapping[str, Detection]],
    reviews: Sequence[Any],
    label: Any,
) -> dict[str, Estimate]:
    """Share of findings without which the policy answers the same, by kind."""
    from apportion.cli.specs import parse_spec
    from apportion.cli.train import need_training
    from apportion.policies import load_policy
    from apportion.tasks import load_task

    need_training()
    from transformers.utils import logging

    from apportion.review.binding import as_language_model
    from apportion.train.measure.decorative import decorative_share, labelled_steps

    logging.disable_progress_bar()
    built = as_language_model(load_policy(parse_spec(policy, "kind")), "of --policy")
    findings = defaultdict(list)
    for name, detections in found.items():
        for detection in detections.values():
            findings[name] += detection.findings
    for review in reviews:
        if label is not None:
            findings[review.rollout_id] += labelled_steps(review, label)
    shares = decorative_share(built, load_task(parse_spec(task, "kind")), rollouts, findings)
    return shares.shares()


def _say_examples(
    rollouts: Sequence[Rollout],
    found: Mapping[str, Mapping[str, Detection]],
    kind: str,
    show: int,
) -> None:
    shown = 0
    for rollout in rollouts:
        for finding in found[rollout.id][kind].findings:
            if shown == show:
                return
            text = " / ".join(span.text(rollout.text).strip() for span in finding.spans)
            say(f"  {rollout.id}: {text[:_SHOWN]!r}: {finding.why}")
            shown += 1


def _shown(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.1%}"
    return f"{estimate.value:.1%} [{estimate.low:.1%}, {estimate.high:.1%}]"


def _as_json(
    rollouts: Sequence[Rollout],
    found: Mapping[str, Mapping[str, Detection]],
    rates: Mapping[str, Estimate],
    tested: Mapping[str, Estimate],
) -> dict[str, Any]:
    return {
        "traces": len(rollouts),
        "rates": {kind: vars(rate) for kind, rate in rates.items()},
        "unchanged_without": {kind: vars(share) for kind, share in tested.items()},
        "findings": [
            {"rollout_id": rollout.id} | finding._asdict()
            for rollout in rollouts
            for detection in found[rollout.id].values()
            for finding in detection.findings
        ],
    }
