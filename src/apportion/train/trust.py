"""Reviewers are measured before any of them may train."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from apportion.config import ConsensusConfig, RunConfig
from apportion.consensus.weights import log_odds_weights, measured_rates
from apportion.errors import UserError
from apportion.policies import load_policy
from apportion.review import (
    ReviewCache,
    ReviewerReport,
    load_reviewer,
    measure_on_task,
    require_trust,
)
from apportion.review.binding import bind_policy, needing_policy
from apportion.tasks import load_task

ArmOfRun = tuple[str, int, RunConfig]
Reports = dict[str, ReviewerReport | None]

# Beside the runs, which share it: what a paid reviewer answered while it was measured.
MEASURED = "measured.sqlite"

# Nobody's verdicts decide what is right there.
_WITHOUT_VERDICTS = ("latent", "agent", "evolution", "reward_model", "persona", "reviewer_tokens")


class Trusted(NamedTuple):
    """Arms whose reviewers may train, and by name what was measured of each reviewer."""

    arms: list[ArmOfRun]
    reports: Reports


def trusted_arms(arms: Sequence[ArmOfRun], out: Path) -> Trusted:
    """The (name, seed, configuration) of each arm with ``consensus.rates: measured`` filled in.

    An arm that was begun in ``out`` before keeps the rates that it was begun with. What a paid
    reviewer answers is kept beside ``out``, so that no run pays for it twice. Raises UserError for
    a reviewer that is not shown to be better than chance on planted errors, unless ``train.trust``
    is "force", and for rates that cannot be measured.
    """
    known: Reports = {}
    trusted = Trusted([], {})
    with ReviewCache(out.parent / MEASURED, lazily=True) as cache:
        for name, seed, arm in arms:
            if arm.objective not in _WITHOUT_VERDICTS:
                try:
                    reports = _measured(arm, known, cache)
                    arm = _with_rates(arm, reports, out / f"{name}-s{seed}" / "config.yaml")
                except UserError as error:
                    raise UserError(f"arm {name}: {error}") from None
                trusted.reports.update(reports)
            trusted.arms.append((name, seed, arm))
    return trusted


def _measured(arm: RunConfig, known: Reports, cache: ReviewCache) -> Reports:
    """What was measured of each of the arm's reviewers, by name; None where the task can plant no
    errors. ``known`` keeps what other arms measured."""
    task = load_task(arm.task)
    found: Reports = {}
    for spec in arm.reviewers:
        reviewer = load_reviewer(spec, cache=cache)
        policy = arm.policy.model_dump(exclude_none=True) if needing_policy([reviewer]) else {}
        given = [arm.task, spec, policy, arm.train.trust_problems]
        key = json.dumps(given, sort_keys=True, default=str)
        if key not in known:
            if policy:
                bind_policy([reviewer], load_policy(policy))
            known[key] = measure_on_task(reviewer, task, problems=arm.train.trust_problems)
        report = found[reviewer.name] = known[key]
        if report is not None:
            require_trust(report, force=arm.train.trust == "force")
    return found


def _with_rates(arm: RunConfig, reports: Reports, begun: Path) -> RunConfig:
    if arm.consensus.rates != "measured":
        return arm
    rates = _rates_before(begun)
    if rates is None:
        rates = {}
        for name, report in reports.items():
            pair = measured_rates(report) if report is not None else None
            if pair is None:
                raise UserError(
                    f"consensus.rates: the rates of reviewer '{name}' cannot be measured on this "
                    f"task: give them, rates: {{{name}: [TPR, FPR]}}, or leave rates out"
                )
            rates[name] = pair
    if rates and not any(log_odds_weights(rates).values()):
        raise UserError("consensus.rates: no reviewer is better than chance, all weights are 0")
    consensus = arm.consensus.model_copy(update={"rates": rates})
    return arm.model_copy(update={"consensus": consensus})


def _rates_before(config: Path) -> dict[str, tuple[float, float]] | None:
    """The rates in the configuration of an arm that was begun before, if there are any."""
    if not config.is_file():
        return None
    old = yaml.safe_load(config.read_text(encoding="utf-8"))
    rates = old.get("consensus", {}).get("rates") if isinstance(old, dict) else None
    if not isinstance(rates, dict):
        return None
    checked = ConsensusConfig(rates=rates).rates
    assert not isinstance(checked, str)
    return checked
