"""Objective flow: it learns, it resumes to the bit, and says what does not fit."""

from __future__ import annotations

import json

import pytest
import torch

from apportion import UserError
from apportion.config import RunConfig
from apportion.policies import load_policy
from apportion.tasks import load_task
from apportion.trace import Problem
from apportion.train.latent.flow_learner import FlowLearner
from apportion.train.latent.flow_reasoning import along, answers_of, flow_policy
from apportion.train.measure.answer_logprob import answer_logprob
from apportion.train.run import run_recipe

_TASK = {"kind": "sums", "operations": [1, 2], "terms": [1, 9], "largest": 60}


def _config(flow: dict | None = None, train: dict | None = None) -> RunConfig:
    settings = {
        "name": "flow",
        "objective": "flow",
        "task": _TASK,
        "policy": {"kind": "tiny", "checkpoint": "sums"},
        "flow": {"steps": 2, "width": 2, "hidden": 32} | (flow or {}),
        "train": {
            "updates": 4,
            "prompts_per_update": 4,
            "learning_rate": 1e-3,
            "max_completion_tokens": 6,
            "threads": 1,
        }
        | (train or {}),
        "eval": {"every": 0, "problems": 2, "final_problems": 4, "answer_logprob": True},
        "alarm": {"enabled": False},
    }
    return RunConfig.model_validate(settings)


@pytest.mark.parametrize("learning", ["through", "regression"])
def test_a_batch_that_is_seen_often_is_learned(learning: str) -> None:
    config = _config({"learning": learning})
    policy, task = flow_policy(config), load_task(_TASK)
    learner = FlowLearner(policy, config)
    examples = answers_of(policy, task, task.problems("train", 8, 0))
    first = learner.update(examples)
    last = [learner.update(examples) for _ in range(25)][-1]
    assert last["train/loss"] < 0.5 * first["train/loss"]
    assert first["flow/gain"] == pytest.approx(0.0, abs=1e-5)  # an untrained thought stands still
    if learning == "through":
        assert last["flow/distance"] > 0.01 > first["flow/distance"]


def test_a_run_that_was_killed_ends_with_the_same_bits(tmp_path, monkeypatch) -> None:
    from safetensors.torch import load_file

    config = _config({"learning": "regression"}, {"checkpoint_every": 2})
    run_recipe(config, tmp_path / "straight", plain=True)
    update = FlowLearner.update

    def interrupted(self, examples):
        if self.done == 3:
            raise KeyboardInterrupt
        return update(self, examples)

    monkeypatch.setattr(FlowLearner, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(config, tmp_path / "killed", plain=True)
    monkeypatch.setattr(FlowLearner, "update", update)
    run_recipe(config, tmp_path / "killed", resume=True, plain=True)
    arms = [tmp_path / name / "flow-s0" for name in ("straight", "killed")]
    for file in ("model.safetensors", "flow.safetensors"):
        one, two = (load_file(arm / "checkpoints" / "final" / file) for arm in arms)
        assert one.keys() == two.keys() and all(torch.equal(one[n], two[n]) for n in one)
    written = []
    for arm in arms:
        lines = [json.loads(x) for x in (arm / "metrics.jsonl").read_text().splitlines()]
        for line in lines:
            line["metrics"].pop("train/seconds", None)
        written.append(lines)
    assert written[0] == written[1]
    train = [line for line in written[0] if line["split"] == "train"]
    assert [line["rollouts"] for line in train] == [4, 8, 12, 16]
    final = written[0][-1]["metrics"]
    assert final["eval/answer_logprob"]["n"] == 4 and final["eval/latent_steps"]["value"] == 2
    gains = written[0][-2]["metrics"]
    assert {"eval/flow_logprob/0", "eval/flow_logprob/2", "eval/flow_gain"} <= set(gains)
    folder = str(arms[0] / "checkpoints" / "final")
    again = flow_policy(_config().model_copy(update={"policy": _policy_of(folder)}))
    assert again.model.steps == 2
    with pytest.raises(UserError, match=r"policy\.model was made with flow .*'width': 2"):
        flow_policy(_config({"width": 3}).model_copy(update={"policy": _policy_of(folder)}))


def _policy_of(folder: str):
    from apportion.config import PolicyConfig

    return PolicyConfig(kind="flow", model=folder)


def test_references_are_scored_behind_the_thought() -> None:
    policy, task = flow_policy(_config()), load_task(_TASK)
    problems = task.problems("validation", 2, 0)
    two = problems[0].model_copy(update={"answers": (problems[0].answers[0], "7")})
    rollouts = policy.sample([two, problems[1]], temperature=0.0, max_tokens=4)
    found = answer_logprob(policy, rollouts)
    texts = [f"#### {answer}" for problem in (two, problems[1]) for answer in problem.answers]
    end = policy.tokenizer.eos_token_id
    ids = [[*policy.tokenizer(text)["input_ids"], end] for text in texts]
    asked = [policy.prompt_ids(p) for p in (two, two, problems[1])]
    logps = policy.logps_along(asked, ids)[:, -1].tolist()
    expected = ((logps[0] + logps[1]) / 2 + logps[2]) / 2
    assert found["eval/answer_logprob"].value == pytest.approx(expected, rel=1e-6)  # type: ignore[union-attr]
    gains = along(policy, task, problems)
    assert gains["eval/flow_gain"].value == pytest.approx(0.0, abs=1e-5)


def _problem(answer: str) -> Problem:
    return Problem(id="p", prompt="1 + 1\n", answers=(answer,))


def test_references_that_cannot_be_scored_are_said() -> None:
    policy = flow_policy(_config())
    rollouts = policy.sample([_problem("2")], temperature=0.0, max_tokens=2)
    empty = rollouts[0].model_copy(update={"problem": _problem(" ")})
    with pytest.raises(UserError, match="problem p: a reference answer is empty"):
        answer_logprob(policy, [empty])
    long = rollouts[0].model_copy(update={"problem": _problem("9 " * 600)})
    with pytest.raises(UserError, match=r"problem p: .* exceed the context of 512"):
        answer_logprob(policy, [long])


def test_a_policy_that_flows_needs_its_folder() -> None:
    with pytest.raises(ValueError, match="kind flow needs a model: a folder that objective flow"):
        RunConfig.model_validate({"name": "x", "policy": {"kind": "flow"}})
    with pytest.raises(UserError, match="no flow model"):
        load_policy({"kind": "flow", "model": "/nowhere"})
