"""Checks of the parts that a configuration names but does not know."""

from __future__ import annotations

from apportion.config.load import expand_arms
from apportion.config.schema import RunConfig
from apportion.errors import UserError, nearest

# Objectives that read no reward section: they learn from gold, from grades or from other losses.
_NOT_PAID = (
    "sft", "evolution", "trice", "star", "rejection", "warm_start", "sft_on_edits", "dpo_on_edits",
    "persona", "judge", "reviewer_tokens", "reward_model",
)  # fmt: skip


def check_parts(config: RunConfig) -> None:
    """Build every arm's task, reviewers and credit method, without a model.

    Raises UserError that names the arm for a kind, method or option that does not exist.
    """
    for name, _, arm in expand_arms(config):
        try:
            _check_arm(arm)
        except UserError as error:
            raise UserError(f"arm {name}: {error}" if config.arms else str(error)) from None


def _check_arm(arm: RunConfig) -> None:
    from apportion.consensus.options import check_panel
    from apportion.credit import load_method
    from apportion.review import load_reviewer
    from apportion.segment import SEGMENTERS
    from apportion.tasks import load_task

    if arm.segment not in SEGMENTERS:
        raise UserError(
            f"segment: unknown segmenter '{arm.segment}'{nearest(arm.segment, list(SEGMENTERS))}"
        )
    if arm.objective == "latent":
        _check_latent(arm)
    elif arm.objective == "agent":
        _check_agent(arm)
    elif arm.policy.kind == "latent":
        raise UserError(f"policy.kind latent: objective {arm.objective} trains text: use latent")
    if arm.objective == "evolution":
        arm.evolution.check(arm.train.epochs)
    if arm.objective in ("trice", "star", "rejection"):
        _check_chains(arm)
    _check_probe(arm)
    _check_reward(arm)
    load_task(arm.task)
    method = load_method(arm.credit)
    names = {load_reviewer(spec).name for spec in arm.reviewers}
    if method.reads_reviews:
        check_panel(arm.consensus.rule, names)


def _check_reward(arm: RunConfig) -> None:
    """The reward is one that the objective pays by, and that the task can give."""
    kind, objective = arm.reward.kind, arm.objective
    if kind != "outcome" and objective in _NOT_PAID:
        raise UserError(
            f"reward.kind {kind}: objective {objective} is not paid by it: leave it out, or use "
            "objective credit"
        )
    if arm.task.get("kind") != "inexact" or kind != "outcome":
        return
    graded = objective in ("credit", "trice", "star", "rejection", "reward_model")
    if graded or (objective == "evolution" and arm.evolution.reward == "outcome"):
        instead = {
            "credit": "use reward.kind likelihood",
            "evolution": "use evolution.reward likelihood",
        }
        raise UserError(
            f"task inexact has no grader, and objective {objective} learns from graded "
            f"completions: {instead.get(objective, 'use objective credit, sft or evolution')}"
        )


def _check_agent(arm: RunConfig) -> None:
    from apportion.policies.latent import parse_cell
    from apportion.tasks import load_environment

    parse_cell(arm.latent.cell)
    load_environment(arm.task)
    arm.agent.check(arm.latent, arm.train.epochs, arm.reward.kind)


def _check_probe(arm: RunConfig) -> None:
    from apportion.faithfulness import load_measures

    arm.probe.check(arm.objective)
    if arm.probe.every:
        try:
            load_measures(arm.probe.measures)
        except UserError as error:
            raise UserError(f"probe.measures: {error}") from None


def _check_latent(arm: RunConfig) -> None:
    from apportion.policies.latent import parse_cell

    parse_cell(arm.latent.cell)
    if arm.train.epochs != 1:
        raise UserError("train.epochs: objective latent learns from a batch once: use 1")
    if arm.policy.lora is not None:
        raise UserError("policy.lora: objective latent trains all weights: leave it out")


def _check_chains(arm: RunConfig) -> None:
    size, settings = arm.train.prompts_per_update, arm.trice
    if arm.train.epochs != 1:
        raise UserError(f"train.epochs: objective {arm.objective} learns from a batch once: use 1")
    if settings.problems < size:
        raise UserError(
            f"trice.problems {settings.problems}: an update takes train.prompts_per_update {size}"
        )
    if arm.objective != "trice" and settings.rounds > arm.train.updates:
        raise UserError(f"trice.rounds {settings.rounds}: there are {arm.train.updates} updates")
    if arm.objective == "trice" and settings.control_variate != "none" and size < 2:
        raise UserError(
            "trice.control_variate: its acceptance rate is that of the other problems of an "
            "update: use none, or train.prompts_per_update 2 or more"
        )
