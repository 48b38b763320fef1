"""Every way of latent learning as a whole run, and a curriculum that is interrupted."""

import json

import pytest
import torch

from apportion import UserError
from apportion.config import RunConfig
from apportion.policies import load_policy
from apportion.tasks import load_task
from apportion.train.latent.arm import latent_policy
from apportion.train.latent.latent_update import LatentLearner
from apportion.train.latent.methods import load_learning
from apportion.train.latent.methods.example import examples_of
from apportion.train.run import run_recipe

TASK = {"kind": "sums", "operations": [1, 2], "terms": [1, 9], "largest": 60}
FIGURES = {
    "answer": "train/loss",
    "text": "train/token_accuracy",
    "coconut": "train/loss",
    "codi": "train/distance",
    "halting": "latent/prior_divergence",
    "stop_bit": "latent/steps",
    "outcome": "latent/group_spread",
}


def make_config(learning, latent=None, train=None):
    settings = {
        "name": "latent",
        "objective": "latent",
        "task": TASK,
        "policy": {"kind": "tiny", "checkpoint": "sums"},
        "latent": {"learning": learning, "steps": 2} | (latent or {}),
        "train": {
            "updates": 3,
            "prompts_per_update": 4,
            "group_size": 3,
            "learning_rate": 1e-3,
            "max_completion_tokens": 24 if learning == "text" else 6,
            "record_every": 1,
            "threads": 1,
        }
        | (train or {}),
        "eval": {"every": 0, "problems": 4, "final_problems": 4, "showcase": 1},
        "alarm": {"enabled": False},
    }
    return RunConfig.model_validate(settings)


def lines(path):
    found = [json.loads(line) for line in path.read_text().splitlines()]
    for line in found:
        line.get("metrics", {}).pop("train/seconds", None)
    return found


@pytest.mark.parametrize("decoder", [0.0, 0.5], ids=["alone", "with_step_decoder"])
@pytest.mark.parametrize("learning", FIGURES)
def test_a_whole_run(tmp_path, learning, decoder):
    if decoder and learning == "text":
        pytest.skip("a chain of text has no latents to decode")
    kind = learning
    if learning == "coconut":
        learning = {"kind": "coconut", "updates_per_stage": 1}
    config = make_config(learning, {"step_decoder": {"weight": decoder}})
    run_recipe(config, tmp_path / "run", plain=True)
    arm = tmp_path / "run" / "latent-s0"
    written = lines(arm / "metrics.jsonl")
    train = [line for line in written if line["split"] == "train"]
    per_update = 12 if kind == "outcome" else 4
    assert [line["rollouts"] for line in train] == [per_update * n for n in (1, 2, 3)]
    assert all(FIGURES[kind] in line["metrics"] for line in train)
    if decoder:
        assert "train/decoder_loss" in train[-1]["metrics"]
    final = written[-1]
    assert (final["split"], final["rollouts"]) == ("test", 3 * per_update)
    steps = final["metrics"]["eval/latent_steps"]
    assert (steps["value"], steps["n"]) == ({"text": 0.0}.get(kind, 2.0), 4)
    again = load_policy({"kind": "latent", "model": str(arm / "checkpoints" / "final")})
    assert (again.model.halting is not None) == (kind in ("halting", "stop_bit"))
    assert all(p.isfinite().all() for p in again.model.parameters())


@pytest.mark.parametrize("kind", ["halting", "stop_bit"])
def test_a_held_head_learns_nothing_and_every_exit_counts_the_same(kind):
    config = make_config({"kind": kind, "hold": 2}, {"steps": 3})
    policy, task = latent_policy(config), load_task(config.task)
    learner = LatentLearner(policy, config, load_learning(config, policy, task))
    examples = examples_of(policy, task, task.problems("train", 4, 0))
    head = policy.model.halting
    assert head is not None
    before = {name: value.clone() for name, value in head.state_dict().items()}
    steps = [learner.update(examples)["latent/steps"] for _ in range(2)]
    if kind == "halting":
        assert steps == pytest.approx([2.0, 2.0])
    assert all(torch.equal(before[name], value) for name, value in head.state_dict().items())
    learner.update(examples)
    assert not torch.equal(before["read.weight"], head.read.weight)


def test_a_curriculum_resumes_in_its_middle_to_the_same_bits(tmp_path, monkeypatch):
    from safetensors.torch import load_file

    learning = {"kind": "coconut", "updates_per_stage": 2, "uniform": 0.3}
    train = {"updates": 6, "checkpoint_every": 3}
    config = make_config(learning, {"step_decoder": {"weight": 0.5}}, train)
    run_recipe(config, tmp_path / "straight", plain=True)

    update = LatentLearner.update

    def interrupted(self, examples):
        if self.done == 4:  # stage 2 begins here, the checkpoint lies in stage 1
            raise KeyboardInterrupt
        return update(self, examples)

    monkeypatch.setattr(LatentLearner, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(config, tmp_path / "killed", plain=True)
    monkeypatch.setattr(LatentLearner, "update", update)
    run_recipe(config, tmp_path / "killed", resume=True, plain=True)

    arms = [tmp_path / name / "latent-s0" for name in ("straight", "killed")]
    for file in ("model.safetensors", "cell.safetensors"):
        one, two = (load_file(arm / "checkpoints" / "final" / file) for arm in arms)
        assert one.keys() == two.keys() and all(torch.equal(one[n], two[n]) for n in one)
    assert lines(arms[0] / "metrics.jsonl") == lines(arms[1] / "metrics.jsonl")


def test_a_curriculum_is_evaluated_as_its_stage_stands(tmp_path):
    config = make_config({"kind": "coconut", "updates_per_stage": 1}, train={"updates": 4})
    config = config.model_copy(update={"eval": config.eval.model_copy(update={"every": 1})})
    run_recipe(config, tmp_path / "run", plain=True)
    written = lines(tmp_path / "run" / "latent-s0" / "metrics.jsonl")
    found = [w["metrics"]["eval/latent_steps"]["value"] for w in written if w["split"] != "train"]
    assert found == [0.0, 0.0, 1.0, 2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("learning", "steps", "message"),
    [
        ("coconut", 0, "0 is no multiple of it above 0"),
        ({"kind": "coconut", "per_step": 2}, 3, "3 is no multiple of it above 0"),
        ({"kind": "coconut", "first_stage": 3}, 2, "make stages 0 to 2, not 3"),
        ("coconut", 2, "3 updates end before the last of 2 stages"),
        ("codi", 0, "codi needs at least 1 latent step"),
        ("halting", 0, "halting chooses between 1 and so many steps: use 1 or more"),
        ("stop_bit", 0, "stop_bit chooses between 1 and so many steps: use 1 or more"),
    ],
)
def test_numbers_of_latent_steps_that_a_method_cannot_use(learning, steps, message):
    config = make_config(learning, {"steps": steps})
    policy = latent_policy(config)
    with pytest.raises(UserError, match=message):
        load_learning(config, policy, load_task(config.task))
