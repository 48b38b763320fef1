"""What measuring signals cost and found stands in the records, and such runs go on to the bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from apportion.config import RunConfig  # noqa: E402
from apportion.train.callbacks import Watcher  # noqa: E402
from apportion.train.run import run_recipe  # noqa: E402


def _config(**changes) -> RunConfig:
    settings = {
        "name": "signals",
        "task": {"kind": "sums", "operations": [2, 2], "terms": [1, 9], "largest": 60},
        "policy": {"kind": "tiny", "checkpoint": "sums"},
        "reviewers": [],
        "token_model": {"problems": 4, "samples": 4, "updates": 2, "batch_size": 8},
        "train": {
            "updates": 2,
            "prompts_per_update": 2,
            "group_size": 4,
            "max_completion_tokens": 24,
            "record_every": 1,
            "threads": 1,
        },
        "eval": {"every": 0, "problems": 2, "final_problems": 2, "showcase": 0},
        "alarm": {"enabled": False},
    }
    return RunConfig.model_validate(settings | changes)


def _rows(folder: Path, kind: str) -> list[dict]:
    return [json.loads(line) for line in (folder / f"{kind}.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("method", "signal", "metrics"),
    [
        ("monte_carlo", "value", {"value/states", "value/rollouts", "value/tokens", "value/mean"}),
        ("critic", "critic_value", {"token_model/loss"}),
        ("oreal", "token_score", {"token_model/accuracy"}),
    ],
)
def test_a_run_records_its_signals_and_their_cost(tmp_path, method, signal, metrics) -> None:
    run_recipe(_config(credit={"method": method}), tmp_path / "run", plain=True)
    folder = tmp_path / "run" / f"{method}-s0"
    train = [row["metrics"] for row in _rows(folder, "metrics") if row["split"] == "train"]
    assert len(train) == 2 and metrics <= set(train[0])
    if method != "monte_carlo":
        assert train[0]["token_model/rollouts"] == 16 and "token_model/rollouts" not in train[1]
        assert (folder / "checkpoints" / "final" / "token_model.pt").is_file()
    for rollout in _rows(folder, "rollouts"):
        assert len(rollout["signals"][signal]) == len(rollout["token_ids"])


def test_a_critic_under_a_likelihood_reward_goes_on_to_the_bit(tmp_path, monkeypatch) -> None:
    from safetensors.torch import load_file

    train = _config().train.model_dump() | {"updates": 4, "checkpoint_every": 2}
    config = _config(
        credit={"method": "critic"},
        reward={"kind": "likelihood", "form": "verifree", "collapse": "off"},
        token_model={"updates": 0, "refresh_updates": 2, "batch_size": 8},
        train=train,
    )
    run_recipe(config, tmp_path / "straight", plain=True)
    keep_on = Watcher.on_step_end

    def dies(self, args, state, control, **kwargs):
        if state.global_step == 3:
            raise KeyboardInterrupt
        return keep_on(self, args, state, control, **kwargs)

    monkeypatch.setattr(Watcher, "on_step_end", dies)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(config, tmp_path / "killed", plain=True)
    monkeypatch.undo()
    run_recipe(config, tmp_path / "killed", resume=True, plain=True)
    arms = [tmp_path / name / "critic-s0" for name in ("straight", "killed")]
    one, two = (load_file(arm / "checkpoints" / "final" / "model.safetensors") for arm in arms)
    assert all(torch.equal(one[name], two[name]) for name in one)
    states = [
        torch.load(arm / "checkpoints" / "final" / "token_model.pt", weights_only=True)["weights"]
        for arm in arms
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    lines = [[r["signals"] for r in _rows(arm, "rollouts")] for arm in arms]
    assert lines[0] == lines[1]
    metrics = [
        {r["update"]: r["metrics"]["token_model/loss"] for r in _rows(arm, "metrics")
         if "token_model/loss" in r["metrics"]} for arm in arms
    ]  # fmt: skip
    assert metrics[0] == metrics[1] and metrics[0]
