"""Objectives trice, star and rejection on the small sums policy: recorded, resumed, refused."""

import json

import pytest
import torch

from apportion import UserError
from apportion.config import RunConfig, check_parts
from apportion.train.run import run_recipe
from apportion.train.self_training.chain_learner import ChainLearner
from apportion.train.self_training.chain_memory import graded
from tests.train.latent.test_latent import start  # noqa: F401


def make_config(objective="trice", trice=None, train=None, **changes):
    settings = {
        "name": "chains",
        "objective": objective,
        "task": {"kind": "sums", "operations": [2, 3], "terms": [1, 9], "largest": 60},
        "policy": {"kind": "tiny", "checkpoint": "sums"},
        "trice": {"problems": 6, "bootstrap": "policy", "tries": 1, "rounds": 2, "samples": 1}
        | (trice or {}),
        "train": {
            "updates": 4,
            "prompts_per_update": 3,
            "max_completion_tokens": 40,
            "record_every": 2,
            "checkpoint_every": 2,
            "threads": 1,
        }
        | (train or {}),
        "eval": {"every": 0, "problems": 2, "final_problems": 2, "showcase": 0},
        "alarm": {"enabled": False},
    }
    return RunConfig.model_validate(settings | changes)


def lines(path):
    found = [json.loads(line) for line in path.read_text().splitlines()]
    for line in found:
        line.get("metrics", {}).pop("train/seconds", None)
    return found


@pytest.mark.parametrize("objective", ["trice", "star"])
def test_a_run_killed_with_its_memory_cut_short_resumes_to_the_same_bits(
    objective, tmp_path, monkeypatch
):
    from safetensors.torch import load_file

    config = make_config(objective)
    run_recipe(config, tmp_path / "straight", plain=True)
    update = ChainLearner.update

    def killed(self, *args, **options):
        if self.done == 3:
            raise KeyboardInterrupt
        return update(self, *args, **options)

    monkeypatch.setattr(ChainLearner, "update", killed)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(config, tmp_path / "killed", plain=True)
    monkeypatch.setattr(ChainLearner, "update", update)
    arms = [tmp_path / name / f"{objective}-s0" for name in ("straight", "killed")]
    memory = arms[1] / "memory.jsonl"
    memory.write_bytes(memory.read_bytes() + b'{"update": 4, "problem_id": "su')
    run_recipe(config, tmp_path / "killed", resume=True, plain=True)
    one, two = (load_file(arm / "checkpoints" / "final" / "model.safetensors") for arm in arms)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert lines(arms[0] / "memory.jsonl") == lines(arms[1] / "memory.jsonl")
    assert lines(arms[0] / "metrics.jsonl") == lines(arms[1] / "metrics.jsonl")
    train = [
        line["metrics"] for line in lines(arms[0] / "metrics.jsonl") if line["split"] == "train"
    ]
    assert all("chains/coverage" in metrics for metrics in train)
    assert "chains/gradient_variance" in train[1]


def test_a_chain_without_answer_tag_is_wrong():
    from apportion.policies.scripted import ScriptedPolicy
    from apportion.tasks import load_task

    task = load_task("sums")
    problem = task.problems("train", 1, 0)[0]
    bare = task.gold_completion(problem).split("####")[0]
    (rollout,) = ScriptedPolicy([bare]).sample([problem])
    assert graded(task, [rollout])[1] == [False]


@pytest.mark.parametrize("objective", ["trice", "rejection"])
def test_no_chain_ever_right_is_an_error(objective, start, tmp_path):  # noqa: F811
    policy = {"kind": "tiny", "checkpoint": str(start)}
    config = make_config(objective, train={"max_completion_tokens": 8}, policy=policy)
    with pytest.raises(UserError, match="no chain of any of the 6 problems"):
        run_recipe(config, tmp_path / "run", plain=True)


@pytest.mark.parametrize(
    ("objective", "trice", "train", "message"),
    [
        ("trice", {}, {"prompts_per_update": 9}, "problems 6: an update takes"),
        ("trice", {}, {"epochs": 2}, "train.epochs: objective trice"),
        ("trice", {}, {"prompts_per_update": 1}, "use none, or train.prompts_per_update 2"),
        ("star", {"rounds": 5}, {}, "rounds 5: there are 4 updates"),
    ],
)
def test_settings_that_do_not_fit(objective, trice, train, message):
    with pytest.raises(UserError, match=message):
        check_parts(make_config(objective, trice, train))


def test_one_problem_an_update_is_fine_without_control_variate():
    check_parts(make_config("trice", {"control_variate": "none"}, {"prompts_per_update": 1}))
