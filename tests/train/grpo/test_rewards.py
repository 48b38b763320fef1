import pytest
from pydantic import ValidationError

from apportion.config import RunConfig
from apportion.config.reward import RewardConfig
from apportion.policies.tiny import load_tiny
from apportion.tasks import load_task
from apportion.train.grpo.rewards import reward_functions


def test_outcome_is_the_default_and_scores_every_completion():
    task = load_task("sums")
    problems = task.problems("train", 2, 0)
    config = RunConfig(name="r", task={"kind": "sums"})
    (reward,) = reward_functions(config, task, load_tiny("sums"), problems)
    texts = [task.gold_completion(problems[0]), "#### 0"]
    scores = reward(completions=texts, problem=[p.model_dump_json() for p in problems])
    assert scores == [1.0, 0.0]


def test_a_reward_may_be_named_by_its_kind_alone():
    config = RunConfig.model_validate({"name": "r", "reward": "likelihood"})
    assert config.reward == RewardConfig(kind="likelihood", form="logprob")


def test_an_option_of_another_kind_is_refused():
    with pytest.raises(ValidationError, match="form is an option of kind likelihood"):
        RewardConfig.model_validate({"kind": "outcome", "form": "jepo"})


def test_a_resolved_configuration_can_be_read_back():
    config = RewardConfig(kind="outcome")
    assert RewardConfig.model_validate(config.model_dump()) == config
