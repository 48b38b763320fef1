"""Effects of steps measured with the tiny policy, for credit."""

from __future__ import annotations

import numpy as np
import pytest

from apportion import UserError
from apportion.config import RunConfig
from apportion.credit import load_method
from apportion.credit.apply import credit_rollouts
from apportion.policies.tiny import load_tiny
from apportion.segment import segment
from apportion.tasks import load_task
from apportion.trace import Problem, Rollout, Step
from apportion.train.grpo.signals import load_signals
from apportion.train.grpo.step_effects import along
from apportion.train.measure.evaluate import score_rollouts

_TASK = {"kind": "sums", "operations": [2, 2], "terms": [1, 9], "largest": 60}


def _config(**credit: object) -> RunConfig:
    return RunConfig.model_validate(
        {
            "name": "effects",
            "task": _TASK,
            "policy": {"kind": "tiny", "checkpoint": "sums"},
            "credit": {"method": "counterfactual", "samples": 3} | credit,
            "train": {"max_completion_tokens": 36},
        }
    )


@pytest.fixture(scope="module")
def sampled():
    policy, task = load_tiny("sums"), load_task(_TASK)
    problems = task.problems("validation", 2, 0)
    rollouts = policy.sample(problems, n=2, max_tokens=36, reasoning_end=task.reasoning_end)
    return policy, task, score_rollouts(task, rollouts)


def test_a_token_has_the_effect_of_its_step() -> None:
    spans = ((0, 2), (2, 3), (3, 6), (6, 8), (8, 8))
    rollout = Rollout(
        id="a",
        problem=Problem(id="p", prompt="x", answers=("1",)),
        text="ab\ncd\n#1",
        token_ids=tuple(range(5)),
        token_spans=spans,
        reasoning_end=6,
        outcome=1.0,
    )
    found = along(rollout, (Step(0, 3), Step(3, 6)), (0.25, None))
    assert found["effect"] == (0.25, 0.25, 0.0, 0.0, 0.0)
    assert found["effect_known"] == (1.0, 1.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("intervention", ["resample", "delete"])
def test_measured_effects_become_credit_that_keeps_the_reward(sampled, intervention) -> None:
    policy, task, rollouts = sampled
    source = load_signals(_config(intervention=intervention), task, policy)[0]
    cuts = [segment(r.text, r.reasoning_end) for r in rollouts]
    measured = source.measure(rollouts, cuts)
    assert measured.metrics["effect/tokens"] > 0
    assert 0 <= measured.metrics["effect/known"] <= 1
    effects = np.concatenate([r.signals["effect"] for r in measured.rollouts])
    assert np.abs(effects).max() <= 1
    method = load_method(_config(intervention=intervention).credit)
    for rollout, credit in zip(
        measured.rollouts,
        credit_rollouts(measured.rollouts, [], method, name="counterfactual"),
        strict=True,
    ):
        base = {round(a, 4) for a, k in zip(
            credit.advantages, rollout.signals["effect_known"], strict=True) if k == 0}  # fmt: skip
        assert len(base) == 1  # what was not measured keeps the base advantage
        total = base.pop() * len(credit.advantages)
        assert sum(credit.advantages) == pytest.approx(total, abs=1e-2)
    again = source.measure(rollouts, cuts)
    assert again.rollouts == measured.rollouts  # the same draws: a resumed run goes on exactly


def test_undecided_outcomes_are_not_measured(sampled) -> None:
    policy, task, rollouts = sampled
    undecided = [rollouts[0].model_copy(update={"outcome": None})]
    source = load_signals(_config(), task, policy)[0]
    found = source.measure(undecided, [segment(undecided[0].text, undecided[0].reasoning_end)])
    assert set(found.rollouts[0].signals["effect_known"]) == {0.0}
    assert found.metrics["effect/tokens"] == 0


def test_another_reward_is_refused(sampled) -> None:
    policy, task, _ = sampled
    config = _config().model_copy(
        update={"reward": RunConfig(name="x", reward={"kind": "likelihood"}).reward}
    )
    with pytest.raises(UserError, match="cannot be used with reward"):
        load_signals(config, task, policy)
