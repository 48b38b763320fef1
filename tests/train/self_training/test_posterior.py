"""Objective em: posterior weights by hand, a whole run, and resuming it to the bit."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from apportion import UserError
from apportion.config import RunConfig
from apportion.policies.tiny import load_tiny
from apportion.tasks import load_task
from apportion.train.run import run_recipe
from apportion.train.self_training.chain_learner import ChainLearner
from apportion.train.self_training.chain_loop import Draw
from apportion.train.self_training.posterior import Posterior, weigh

_TASK = {"kind": "sums", "operations": [1, 2], "terms": [1, 9], "largest": 60}


def _config(em: dict | None = None, **train: object) -> RunConfig:
    settings = {
        "name": "em",
        "objective": "em",
        "task": _TASK,
        "policy": {"kind": "tiny", "checkpoint": "sums"},
        "trice": {"problems": 6, "clip": 40},
        "em": {"samples": 2} | (em or {}),
        "train": {
            "updates": 4,
            "prompts_per_update": 3,
            "max_completion_tokens": 20,
            "record_every": 2,
            "threads": 1,
        }
        | train,
        "eval": {"every": 0, "problems": 2, "final_problems": 2, "showcase": 0},
        "alarm": {"enabled": False},
    }
    return RunConfig.model_validate(settings)


def test_posterior_weights_by_hand() -> None:
    # p(a* | x, r) = 0.2 and 0.6 of proposals from the policy itself.
    answers = np.log([[0.2, 0.6]])
    weights, figures = weigh(answers, np.zeros((1, 2)))
    np.testing.assert_allclose(weights, [[0.25, 0.75]])
    assert figures["em/bound"] == pytest.approx(math.log(0.4))
    assert figures["em/effective"] == pytest.approx(1.6)
    # A helper that is the posterior: q / p = p(a* | x, r) / p(a* | x), p(a* | x) = 0.4.
    weights, figures = weigh(answers, np.log([[0.5, 1.5]]))
    np.testing.assert_allclose(weights, [[0.5, 0.5]])
    assert figures["em/bound"] == pytest.approx(math.log(0.4))
    assert figures["em/effective"] == pytest.approx(2.0)


def _draw(config: RunConfig) -> tuple[Posterior, Draw]:
    policy, task = load_tiny("sums"), load_task(_TASK)
    learner = ChainLearner(policy, config)
    source = Posterior(config, 0, task, policy, learner, task.problems("train", 6, 0))
    source.begin()
    return source, source.draw(1)


@pytest.mark.parametrize("guided", [True, False])
def test_chains_end_in_the_reference_and_weigh_one_a_problem(guided: bool) -> None:
    source, draw = _draw(_config({"guided": guided}))
    assert (draw.examples, len(draw.chains), source.drawn(2)) == (3, 6, 12)
    tokenizer = source._policy.tokenizer
    for number, (chain, rollout) in enumerate(zip(draw.chains, draw.rollouts, strict=True)):
        text = tokenizer.decode(chain.completion)
        assert text.endswith(f"#### {rollout.problem.answers[0]}{tokenizer.eos_token}")
        assert chain.example == number // 2
    weights = np.reshape([chain.weight for chain in draw.chains], (3, 2))
    np.testing.assert_allclose(weights.sum(1), 1.0)
    assert ("em/helper_loss" in draw.metrics) == guided
    # An untrained helper is the policy, so it leads nowhere.
    assert draw.metrics["em/lead"] == pytest.approx(0.0, abs=1e-3)


def test_a_chain_without_answer_gets_mark_and_reference() -> None:
    _, draw = _draw(_config(max_completion_tokens=3))
    assert all(r.finish == "length" for r in draw.rollouts)
    policy = load_tiny("sums")
    for chain, rollout in zip(draw.chains, draw.rollouts, strict=True):
        text = policy.tokenizer.decode(chain.completion)
        assert text.startswith(rollout.text) and "#### " in text[len(rollout.text) :]


def test_an_empty_reference_is_said() -> None:
    policy, task = load_tiny("sums"), load_task(_TASK)
    problem = task.problems("train", 1, 0)[0].model_copy(update={"answers": ("",)})
    with pytest.raises(UserError, match="no reference answer for the helper"):
        Posterior(_config(), 0, task, policy, ChainLearner(policy, _config()), [problem])


def test_a_run_that_was_killed_ends_with_the_same_bits(tmp_path, monkeypatch) -> None:
    from safetensors.torch import load_file

    config = _config(checkpoint_every=2)
    run_recipe(config, tmp_path / "straight", plain=True)
    draw = Posterior.draw

    def interrupted(self, update):
        if update == 4:
            raise KeyboardInterrupt
        return draw(self, update)

    monkeypatch.setattr(Posterior, "draw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(config, tmp_path / "killed", plain=True)
    monkeypatch.setattr(Posterior, "draw", draw)
    run_recipe(config, tmp_path / "killed", resume=True, plain=True)
    arms = [tmp_path / name / "em-s0" for name in ("straight", "killed")]
    one, two = (load_file(a / "checkpoints" / "final" / "model.safetensors") for a in arms)
    assert all(torch.equal(one[name], two[name]) for name in one)
    lines = [json.loads(x) for x in (arms[0] / "metrics.jsonl").read_text().splitlines()]
    train = [line for line in lines if line["split"] == "train"]
    assert [line["rollouts"] for line in train] == [6, 12, 18, 24]
    assert all(line["metrics"]["em/bound"] <= 0 for line in train)
