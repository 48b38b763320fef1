"""A reward that nobody is paid by, and grades that nobody can give, are refused before training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apportion.config import RunConfig, check_parts, resolve
from apportion.errors import UserError

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))
LIKELIHOOD = {"kind": "likelihood"}
MODEL = {"kind": "model", "path": "nowhere"}


def config(**changes: Any) -> RunConfig:
    return RunConfig.model_validate({"name": "r", "task": "sums"} | changes)


@pytest.mark.parametrize("reward", [LIKELIHOOD, MODEL])
@pytest.mark.parametrize("objective", ["sft", "evolution", "trice", "star", "persona"])
def test_a_reward_that_the_objective_is_not_paid_by_is_refused(objective, reward) -> None:
    with pytest.raises(UserError, match=f"objective {objective} is not paid by it"):
        check_parts(config(objective=objective, reward=reward))
    check_parts(config(reward=reward))


@pytest.mark.parametrize(
    ("changes", "instead"),
    [
        ({"objective": "credit"}, "reward.kind likelihood"),
        ({"objective": "evolution"}, "evolution.reward likelihood"),
        ({"objective": "trice"}, "credit, sft or evolution"),
        ({"objective": "rejection"}, "credit, sft or evolution"),
        ({"objective": "reward_model"}, "credit, sft or evolution"),
    ],
)
def test_grades_of_a_task_without_a_grader_are_refused(changes, instead) -> None:
    with pytest.raises(UserError, match=f"no grader.*{instead}"):
        check_parts(config(task="inexact", **changes))


def test_what_needs_no_grader_may_use_that_task() -> None:
    check_parts(config(task="inexact", reward=LIKELIHOOD))
    check_parts(config(task="inexact", reward=MODEL))
    check_parts(config(task="inexact", objective="sft"))
    check_parts(config(task="inexact", objective="evolution", evolution={"reward": "likelihood"}))


def test_the_arm_at_fault_is_named() -> None:
    arms = [{"name": "fine"}, {"name": "bad", "set": {"objective": "sft", "reward": LIKELIHOOD}}]
    with pytest.raises(UserError, match=r"arm bad: reward.kind likelihood"):
        check_parts(config(arms=arms))


@pytest.mark.parametrize("recipe", [r for r in RECIPES if r.stem in ("inexact", "bet")])
def test_recipes_that_pay_by_likelihood_pass(recipe: Path) -> None:
    check_parts(resolve(str(recipe), []))
