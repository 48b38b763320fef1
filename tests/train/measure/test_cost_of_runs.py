"""What whole runs say that they cost, against torch's counter."""

from contextlib import contextmanager

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from apportion.config import RunConfig
from apportion.train import setup
from apportion.train.callbacks import Watcher
from apportion.train.measure.cost_meter import CostMeter
from apportion.train.run import run_recipe

WAYS = {
    "outcome": {},
    "dca": {"credit": {"method": "dca"}, "reviewers": ["gold"]},
    "logprob": {"reward": {"kind": "likelihood", "form": "logprob"}},
    "verifree": {"reward": {"kind": "likelihood", "form": "verifree"}},
    "hindsight": {
        "credit": {"method": "hindsight"},
        "helper": {"problems": 4, "samples": 1, "updates": 1, "batch_size": 4, "kl_limit": 0},
    },
    "trice": {"objective": "trice", "trice": {"problems": 4, "guide_updates": 1}},
    "rejection": {"objective": "rejection"},
    "sft": {"objective": "sft"},
    "latent": {"objective": "latent", "latent": {"steps": 3}},
    "evolution": {"objective": "evolution", "evolution": {"population": 4, "reward": "likelihood"}},
}


def in_place(sum_shape, a_shape, b_shape, *rest, **named):
    """What torch leaves out: the gradients of TRL's head are added up in place."""
    return 2 * a_shape[0] * a_shape[1] * b_shape[1]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_an_update_costs_what_torch_counts(way, tmp_path, monkeypatch):
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: in_place})
    said, aside = [], [0]
    paused, append, load = CostMeter.paused, Watcher._append, setup.load_policy

    @contextmanager
    def measured(meter):
        before = counter.get_total_flops()
        with paused(meter):
            yield
        aside[0] += counter.get_total_flops() - before

    def recorded(watcher, update, split, metrics):
        append(watcher, update, split, metrics)
        if split == "train":
            said.append((watcher._meter.flops, counter.get_total_flops() - aside[0]))

    def eager(spec):
        policy = load(spec)
        policy.model.set_attn_implementation("eager")
        return policy

    monkeypatch.setattr(CostMeter, "paused", measured)
    monkeypatch.setattr(Watcher, "_append", recorded)
    monkeypatch.setattr(setup, "load_policy", eager)
    settings = {
        "name": "cost",
        "task": {"kind": "sums", "operations": [2, 3], "terms": [1, 9]},
        "policy": {"kind": "tiny", "checkpoint": "sums"},
        "train": {
            "updates": 2,
            "prompts_per_update": 2,
            "group_size": 2,
            "max_completion_tokens": 40,
            "record_every": 0,
            "trust": "force",
            "threads": 1,
        },
        "eval": {"every": 0, "problems": 4, "final_problems": 4, "showcase": 0},
        "alarm": {"enabled": False},
    }
    config = RunConfig.model_validate(settings | WAYS[way])
    with counter:
        run_recipe(config, tmp_path / "run", plain=True)
    ours, torchs = said[-1]
    if way == "latent":  # before any update it has tried its decoder out
        ours, torchs = ours - said[-2][0], torchs - said[-2][1]
    # Nobody asks for the gradient of what the helper of hindsight reads, and ours counts it.
    assert torchs > 0 and ours == pytest.approx(torchs, rel=0.02 if way == "hindsight" else 0.001)
