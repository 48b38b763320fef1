"""Agents as whole runs: records, resuming to the bit, what is refused."""

import json

import pytest
import torch

from apportion.config import RunConfig
from apportion.config.parts import check_parts
from apportion.errors import UserError
from apportion.policies import load_policy
from apportion.train.agent.learner import AgentLearner
from apportion.train.run import run_recipe

SMALL = {"hidden_size": 16, "layers": 1, "plays": 40, "imitation_batch": 4, "check_problems": 4}


def make_config(agent=None, train=None, **settings):
    return RunConfig.model_validate(
        {
            "name": "agent",
            "objective": "agent",
            "task": {"kind": "rooms", "rooms": [2, 3], "stages": [1, 1]},
            "latent": {"steps": 2},
            "agent": SMALL
            | {"imitation_updates": 2, "check_every": 2, "variance_every": 2}
            | (agent or {}),
            "train": {
                "updates": 3,
                "prompts_per_update": 2,
                "group_size": 3,
                "learning_rate": 1e-3,
                "record_every": 2,
                "threads": 1,
            }
            | (train or {}),
            "eval": {"every": 0, "problems": 4, "final_problems": 5, "showcase": 2},
            "alarm": {"enabled": False},
        }
        | settings
    )


def lines(path):
    found = [json.loads(line) for line in path.read_text().splitlines()]
    for line in found:
        line.get("metrics", {}).pop("train/seconds", None)
    return found


@pytest.mark.parametrize("thought", ["latent", "text", "none"])
def test_a_whole_run(tmp_path, thought):
    config = make_config({"thought": thought, "thought_tokens": 3})
    run_recipe(config, tmp_path / "run", plain=True)
    arm = tmp_path / "run" / "agent-s0"
    written = lines(arm / "metrics.jsonl")
    train = [line for line in written if line["split"] == "train"]
    assert [line["rollouts"] for line in train] == [0, 6, 12, 18]
    assert train[0]["metrics"]["agent/imitation_updates"] == 2
    assert ["agent/gradient_variance" in w["metrics"] for w in train] == [False, True, False, True]
    for line in train[1:]:
        figures = line["metrics"]
        decisions, turns = figures["agent/decisions"], figures["agent/turns"]
        thoughts = {"latent": 2 * turns, "none": 0.0}.get(thought, figures["agent/thoughts"])
        assert figures["agent/thoughts"] == pytest.approx(thoughts)
        assert decisions > turns if thought == "text" else decisions == turns
        assert 0 <= figures["reward/mean"] <= 1
    final = written[-1]
    assert (final["split"], final["metrics"]["eval/return"]["n"]) == ("test", 5)
    assert final["metrics"]["cost/generated_tokens"] > 0 and final["metrics"]["cost/flops"] > 0
    rollouts = lines(arm / "rollouts.jsonl")
    assert [r["update"] for r in rollouts] == [2] * 6 + [None] * 2
    assert all(r["meta"]["actions"] and r["outcome"] is not None for r in rollouts)
    again = load_policy({"kind": "latent", "model": str(arm / "checkpoints" / "final")})
    assert again.model.steps == (2 if thought == "latent" else 0)
    assert (tmp_path / "run" / "report.html").is_file()


def test_it_resumes_to_the_same_bits(tmp_path, monkeypatch):
    from safetensors.torch import load_file

    config = make_config(train={"updates": 4, "checkpoint_every": 2})
    run_recipe(config, tmp_path / "straight", plain=True)
    update = AgentLearner.update

    def interrupted(self, problems):
        if self.done == 3:
            raise KeyboardInterrupt
        return update(self, problems)

    monkeypatch.setattr(AgentLearner, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(config, tmp_path / "killed", plain=True)
    monkeypatch.setattr(AgentLearner, "update", update)
    run_recipe(config, tmp_path / "killed", resume=True, plain=True)
    arms = [tmp_path / name / "agent-s0" for name in ("straight", "killed")]
    for file in ("model.safetensors", "cell.safetensors"):
        one, two = (load_file(arm / "checkpoints" / "final" / file) for arm in arms)
        assert one.keys() == two.keys() and all(torch.equal(one[n], two[n]) for n in one)
    for file in ("metrics.jsonl", "rollouts.jsonl"):
        assert lines(arms[0] / file) == lines(arms[1] / file)


def test_an_agent_goes_on_from_another(tmp_path):
    run_recipe(make_config({"thought": "text"}, {"updates": 1}), tmp_path / "one", plain=True)
    final = str(tmp_path / "one" / "agent-s0" / "checkpoints" / "final")
    config = make_config(
        {"start": "policy", "imitation_updates": 0},
        {"updates": 1},
        policy={"kind": "latent", "model": final},
    )
    check_parts(config)
    run_recipe(config, tmp_path / "two", plain=True)
    metrics = lines(tmp_path / "two" / "agent-s0" / "metrics.jsonl")[-1]["metrics"]
    assert metrics["eval/thoughts"]["value"] == 2 * metrics["eval/steps"]["value"]


def test_a_vocabulary_without_the_words(tmp_path):
    config = make_config({"start": "policy"}, policy={"kind": "tiny", "checkpoint": "sums"})
    with pytest.raises(UserError, match="'north' and 'south' begin with the same token"):
        run_recipe(config, tmp_path / "run", plain=True)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"task": {"kind": "sums"}}, "task sums has no turns"),
        ({"latent": {"steps": 0}}, "latent.steps: 0 is no thought"),
        ({"latent": {"steps": 2, "truncate": 1}}, "latent.truncate: objective agent"),
        ({"latent": {"steps": 2, "learning": "codi"}}, "latent.learning: objective agent"),
        ({"latent": {"steps": 2, "cell": "gru"}}, "unknown cell 'gru'"),
        ({"train": {"epochs": 2}}, "train.epochs: objective agent"),
        ({"reward": {"kind": "model", "path": "x"}}, "reward.kind model: objective agent is paid"),
    ],
)
def test_settings_that_do_not_fit(changes, complaint):
    with pytest.raises(UserError, match=complaint):
        check_parts(make_config(**changes))


def test_memory_is_of_latent_thought():
    with pytest.raises(ValueError, match="carry memory is of latent thought"):
        make_config({"thought": "text", "carry": "memory"})


def test_a_gradient_that_is_not_finite(tmp_path, monkeypatch):
    from apportion.train.agent import learner

    monkeypatch.setattr(
        learner, "group_advantages", lambda r, *_, **__: torch.full((6,), torch.nan)
    )
    with pytest.raises(UserError, match="update 1: the gradient is not finite"):
        run_recipe(make_config({"variance_every": 0}), tmp_path / "run", plain=True)
