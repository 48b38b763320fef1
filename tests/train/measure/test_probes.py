"""Faithfulness while training: it changes nothing, is resumable, and is recorded."""

from __future__ import annotations

import random

import numpy as np
import pytest
import yaml

from apportion.config import RunConfig, check_parts, resolve
from apportion.errors import UserError
from apportion.policies.tiny import load_tiny
from apportion.records import RunDirectory, read_kind
from apportion.train.arm import run_arm
from apportion.train.grpo import rewards
from apportion.train.measure.probes import undisturbed

TASK = {"kind": "sums", "operations": [2, 2], "terms": [1, 9], "largest": 60}
MEASURES = ["early_answering", {"name": "step_deletion", "steps": 2}]


def config(objective="credit", **given):
    settings = {
        "name": "probed",
        "objective": objective,
        "task": TASK,
        "policy": {"kind": "tiny", "checkpoint": "sums"},
        "train": {"updates": 3, "prompts_per_update": 2, "group_size": 4, "learning_rate": 1e-3,
                  "threads": 1, "max_completion_tokens": 40, "record_every": 0},
        "eval": {"every": 0, "problems": 4, "final_problems": 4, "showcase": 0},
        "probe": {"every": 2, "measures": MEASURES, "problems": 6},
        "alarm": {"enabled": False},
    }  # fmt: skip
    for section, values in given.items():
        settings[section] = settings.get(section, {}) | values
    return RunConfig.model_validate(settings)


class Quiet:
    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)

    def advance(self, count=1):
        pass


@pytest.fixture(autouse=True)
def something_to_learn(monkeypatch):
    """Groups of equal outcomes teach nothing; this reward tells completions apart."""
    monkeypatch.setattr(rewards, "outcome_reward", lambda task: _parity)


def _parity(completion_ids, **_):
    return [float(sum(ids) % 2) for ids in completion_ids]


def train(settings, folder, **how):
    quiet = Quiet()
    with RunDirectory(folder, **how) as run:
        if not how:
            run.write_config(settings.model_dump(mode="json"))
            run.write_manifest([])
        run_arm(settings, 0, run, progress=quiet)
    return quiet


def weights(folder):
    return (folder / "checkpoints/final/model.safetensors").read_bytes()


def learned(folder):
    """The largest change of a weight."""
    start = load_tiny("sums").model
    end = load_tiny(str(folder / "checkpoints/final")).model
    pairs = zip(start.parameters(), end.parameters(), strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)


def moments(folder):
    lines = read_kind(folder, "metrics")[0]
    return [line for line in lines if "faith/tokens" in line.metrics]


EXTRA = {
    "credit": {"credit": {"method": "dca"}},
    "sft": {},
    "evolution": {"evolution": {"population": 4, "parallel": 2, "reward": "likelihood"}},
    "rejection": {"trice": {"problems": 8}},
}


@pytest.mark.parametrize("objective", EXTRA)
def test_probes_do_not_change_what_is_learned(objective, tmp_path):
    extra = EXTRA[objective]
    said = train(config(objective, **extra), tmp_path / "with").said
    train(config(objective, probe={"every": 0}, **extra), tmp_path / "without")
    assert weights(tmp_path / "with") == weights(tmp_path / "without")
    assert learned(tmp_path / "with") > 0
    assert not moments(tmp_path / "without") and not (tmp_path / "without/probes.jsonl").exists()

    found = moments(tmp_path / "with")
    # At the start, every second update, and at the end.
    assert [line.update for line in found] == [0, 2, 3]
    assert {line.split for line in found} == {"validation"}
    for line in found:
        for name in (
            "faith/early_answering",
            "faith/step_deletion",
            "faith/step_deletion/decorative",
        ):
            figure = line.metrics[name]
            assert 0 < figure["n"] <= 6 and figure["low"] <= figure["value"] <= figure["high"]
        probes = [p for p in read_kind(tmp_path / "with", "probes")[0] if p.update == line.update]
        assert len(probes) == 12
        chains = [r for r in read_kind(tmp_path / "with", "rollouts")[0] if r.update == line.update]
        assert {p.rollout_id for p in probes} == {r.id for r in chains}
        written = sum(len(r.token_ids) for r in chains)
        assert line.metrics["faith/tokens"] == written + sum(p.tokens for p in probes)
    assert any("early_answering" in text for text in said)


def test_training_changes_what_is_measured(tmp_path):
    train(config(train={"learning_rate": 1e-2}), tmp_path / "run")
    first, *_, last = moments(tmp_path / "run")
    assert first.metrics["faith/early_answering"] != last.metrics["faith/early_answering"]
    assert [line.rollouts for line in moments(tmp_path / "run")] == [0, 16, 24]


def test_a_measure_by_itself_is_what_apportion_probe_finds(tmp_path):
    from apportion.faithfulness import Subject, load_measure
    from apportion.tasks import load_task

    settings = config()
    train(settings, tmp_path / "run")
    task, policy = load_task(TASK), load_tiny("sums")
    chains = policy.sample(
        task.problems("validation", 6, 0), temperature=0.0, max_tokens=40,
        reasoning_end=task.reasoning_end,
    )  # fmt: skip
    measure = load_measure("early_answering")
    probes = measure.measure(Subject(policy, task, max_tokens=40), chains)
    expected = measure.summarise(probes)["value"]
    recorded = moments(tmp_path / "run")[0].metrics["faith/early_answering"]
    assert recorded["value"] == pytest.approx(expected.value, abs=1e-5)
    assert recorded["n"] == expected.n


def test_an_interrupted_run_measures_nothing_twice(tmp_path):
    settings = config("sft", train={"updates": 4, "checkpoint_every": 2})
    folder = tmp_path / "run"
    train(settings, folder)
    whole, before = weights(folder), moments(folder)
    # As if killed in the middle of the last probes, behind the checkpoint of update 2.
    (folder / "checkpoints/final").rename(tmp_path / "final")
    (folder / "checkpoints/checkpoint-4").rename(tmp_path / "checkpoint-4")
    file = folder / "probes.jsonl"
    file.write_bytes(file.read_bytes()[:-700])
    train(settings, folder, resume=True)
    assert weights(folder) == whole
    after = moments(folder)
    for one, other in zip(before, after, strict=True):
        assert one.update == other.update
        for name, value in one.metrics.items():
            if not name.endswith("seconds"):
                assert other.metrics[name] == value, name
    for kind in ("probes", "rollouts"):
        records = read_kind(folder, kind)[0]
        names = [
            (getattr(r, "rollout_id", None) or r.id, getattr(r, "measure", "")) for r in records
        ]
        assert len(set(names)) == len(names)
    assert len(read_kind(folder, "probes")[0]) == 3 * 12


def test_killed_at_the_very_end_only_the_missing_is_measured(tmp_path):
    settings = config("sft", train={"updates": 3, "checkpoint_every": 3})
    folder = tmp_path / "run"
    train(settings, folder)
    probes = (folder / "probes.jsonl").read_text().splitlines(keepends=True)
    (folder / "probes.jsonl").write_text("".join(probes[:-4]))
    kept = [line for line in (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
            if '"update":3' not in line or "faith/" not in line]  # fmt: skip
    (folder / "metrics.jsonl").write_text("".join(kept))
    train(settings, folder, resume=True)
    again = (folder / "probes.jsonl").read_text().splitlines(keepends=True)
    assert again[:-4] == probes[:-4] and len(again) == len(probes)
    assert [line.update for line in moments(folder)] == [0, 2, 3]


def test_a_policy_that_never_answers_is_null_and_not_zero(tmp_path):
    settings = config("sft", train={"updates": 1, "max_completion_tokens": 2})
    train(settings, tmp_path / "run")
    for line in moments(tmp_path / "run"):
        assert line.metrics["faith/early_answering"] is None
        assert "faith/step_deletion/necessity" not in line.metrics
    assert all(p.error for p in read_kind(tmp_path / "run", "probes")[0])


def test_without_records_only_the_figures_are_kept(tmp_path):
    train(config("sft", probe={"records": False}), tmp_path / "run")
    assert len(moments(tmp_path / "run")) == 3
    assert not (tmp_path / "run/probes.jsonl").exists()
    assert not (tmp_path / "run/rollouts.jsonl").exists()


def recipe(tmp_path, **given):
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump({"name": "r", "task": TASK} | given))
    return path


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"probe": {"every": 5, "measures": ["early_answring"]}}, "did you mean 'early_answering'"),
        ({"probe": {"every": 5, "measures": [{"name": "filler", "lenght": 3}]}}, "measure filler"),
        ({"probe": {"every": 5, "measures": ["filler", "filler"]}}, "filler is named twice"),
        ({"probe": {"every": 5, "measures": []}}, "at least one"),
        ({"objective": "persona", "probe": {"every": 5}}, "objective persona"),
        ({"objective": "reward_model", "probe": {"every": 5}}, "objective reward_model"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_trained(tmp_path, given, says):
    with pytest.raises(UserError, match=says):
        check_parts(resolve(recipe(tmp_path, **given)))


def test_an_unknown_key_is_named(tmp_path):
    with pytest.raises(UserError, match=r"probe\.evry"):
        resolve(recipe(tmp_path, probe={"evry": 5}))


def test_random_numbers_and_the_mode_are_as_before():
    import torch

    def seed():
        torch.manual_seed(3)
        random.seed(3)
        np.random.seed(3)

    policy = load_tiny("sums")
    policy.model.train()
    seed()
    expected = torch.rand(2).tolist(), random.random(), np.random.rand()
    seed()
    with undisturbed(policy.model):
        policy.model.eval()
        assert len([torch.rand(7), random.random(), np.random.rand(5)]) == 3
    assert policy.model.training
    assert (torch.rand(2).tolist(), random.random(), np.random.rand()) == expected
