"""A run that an alarm stops says so, and is measured where it stands."""

import json

import pytest

from apportion.config import RunConfig

pytest.importorskip("torch")

from apportion.train.measure.alarm import CollapseAlarm
from apportion.train.run import run_recipe

pytestmark = pytest.mark.filterwarnings("ignore")

SETTINGS = {
    "name": "stopped",
    "task": {"kind": "sums", "operations": [2, 2], "terms": [1, 9]},
    "policy": {"kind": "tiny", "checkpoint": "sums"},
    "train": {
        "updates": 6,
        "prompts_per_update": 2,
        "group_size": 2,
        "max_completion_tokens": 24,
        "record_every": 0,
        "threads": 1,
    },
    "eval": {"every": 1, "problems": 2, "final_problems": 2, "samples": 0, "showcase": 0},
}


@pytest.mark.parametrize(
    ("settings", "rollouts"),
    [
        ({"objective": "credit"}, 8),
        ({"objective": "latent", "latent": {"steps": 1}}, 4),
        ({"objective": "sft"}, 0),
        ({"objective": "evolution", "evolution": {"population": 2}}, 8),
    ],
    ids=lambda value: value["objective"] if isinstance(value, dict) else "",
)
def test_the_final_figures_are_of_the_update_that_was_reached(
    settings, rollouts, tmp_path, monkeypatch
):
    def rings_at_two(alarm, update, *measured):
        return "collapsed" if update == 2 else None

    monkeypatch.setattr(CollapseAlarm, "check", rings_at_two)
    run_recipe(RunConfig.model_validate(SETTINGS | settings), tmp_path / "run", plain=True)
    [arm] = (tmp_path / "run").glob("*-s0")
    lines = [json.loads(line) for line in (arm / "metrics.jsonl").read_text().splitlines()]
    final = lines[-1]
    assert (final["split"], final["update"], final["rollouts"]) == ("test", 2, rollouts)
    assert max(line["update"] for line in lines) == 2
    assert json.loads((arm / "manifest.json").read_text())["alarm"] == "collapsed"
