"""The helper: what it converges to, what is measured with it, and when it stops a run."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace

import pytest
import torch

from apportion import UserError
from apportion.config import RunConfig
from apportion.config.helper import HelperConfig
from apportion.credit import load_method
from apportion.policies.hindsight import Chain, velocities
from apportion.policies.tiny import load_tiny
from apportion.tasks import load_task
from apportion.trace import Problem
from apportion.train.grpo.helper_alarm import HelperAlarm, correlation_within
from apportion.train.grpo.hindsight_source import HindsightSource
from apportion.train.helper import cut, reference
from apportion.train.measure.evaluate import score_rollouts
from apportion.train.row_learner import RowLearner
from apportion.train.run import run_recipe
from apportion.train.supervised import Row

_V = 5
_TASK = {"kind": "sums", "operations": [2, 2], "terms": [1, 9], "largest": 60}


def _toy(scale: float) -> SimpleNamespace:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=_V,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(scale)
    tokenizer = SimpleNamespace(pad_token_id=0)
    return SimpleNamespace(model=model, tokenizer=tokenizer)


def test_a_helper_at_convergence_adds_up_to_what_the_reasoning_does_for_the_answer() -> None:
    """By enumeration: two tokens of reasoning, one of answer, all sequences."""
    policy, helper = _toy(6.0), _toy(1.0)
    question = [2]
    every = list(itertools.product(range(_V), repeat=3))
    ids = torch.tensor([[*question, *s] for s in every])
    with torch.no_grad():
        logps = policy.model(ids).logits.log_softmax(-1)
    per_token = torch.stack([logps[:, t].gather(1, ids[:, t + 1, None])[:, 0] for t in range(3)])
    joint = per_token.sum(0).exp().double()
    assert joint.sum() == pytest.approx(1.0, abs=1e-4)
    rows = [
        Row([a, *question], [r, s], float(p)) for (r, s, a), p in zip(every, joint, strict=True)
    ]
    learner = RowLearner(helper.model, helper.tokenizer, learning_rate=1e-2)
    for step in range(800):
        learner._rate = 1e-2 * (1 - step / 800)  # to nothing, so that it converges
        learner.step(rows)
    marginal = [sum(joint[i] for i, s in enumerate(every) if s[2] == a) for a in range(_V)]
    chains = [Chain(question, [a, *question], [r, s]) for r, s, a in every]
    found = velocities(policy, helper, chains)
    gain = [
        float(per_token[2, i]) - float(torch.log(marginal[a])) for i, (_, _, a) in enumerate(every)
    ]
    assert max(map(abs, gain)) > 0.5  # there is something to find
    error = sum(float(p) * abs(v.h_T.sum() - g) for p, v, g in zip(joint, found, gain, strict=True))
    size = sum(float(p) * abs(g) for p, g in zip(joint, gain, strict=True))
    assert error < 0.1 * size
    assert all((v.mean_T <= 1e-6).all() for v in found)


def _config(**changes: object) -> RunConfig:
    settings = {
        "name": "helper",
        "task": _TASK,
        "policy": {"kind": "tiny", "checkpoint": "sums"},
        "credit": {"method": "hindsight"},
        "helper": {"problems": 8, "samples": 2, "updates": 3, "batch_size": 8, "kl_limit": 0},
        "train": {
            "updates": 2,
            "prompts_per_update": 2,
            "group_size": 2,
            "max_completion_tokens": 30,
            "record_every": 1,
            "threads": 1,
        },
        "eval": {"every": 0, "problems": 2, "final_problems": 2, "showcase": 0},
        "alarm": {"enabled": False},
    }
    return RunConfig.model_validate(settings | changes)


_QUICK = {"problems": 4, "samples": 1}


def _rollouts(n: int = 2):
    policy, task = load_tiny("sums"), load_task(_TASK)
    problems = task.problems("validation", 3, 0)
    sampled = policy.sample(problems, n=n, max_tokens=30, reasoning_end=task.reasoning_end)
    return policy, task, score_rollouts(task, sampled)


def test_a_completion_is_cut_behind_the_mark() -> None:
    policy, _, rollouts = _rollouts(1)
    parts = cut(rollouts[0])
    assert policy.tokenizer.decode(parts.ids).endswith("\n####")
    assert parts.answer is not None and parts.after.strip() == parts.answer
    bare = rollouts[0].model_copy(update={"reasoning_end": len(rollouts[0].text)})
    assert cut(bare) == (rollouts[0].token_ids, None, "")  # no answer tag: all is reasoning


@pytest.mark.parametrize("answers", [(), ("",), ("  ",)])
def test_an_empty_reference_is_said(answers: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="problem p: no reference answer"):
        reference(Problem(id="p", prompt="x", answers=answers))


def test_an_untrained_helper_that_is_the_policy_gives_nothing_but_its_prompt_s_effect() -> None:
    policy, task, rollouts = _rollouts()
    config = _config(helper=_QUICK | {"updates": 1, "kind": "copy", "prompt": "{answer}{prompt}"})
    source = HindsightSource(config, load_method("flow"), task, policy)
    measured = source.measure(rollouts, [])
    for rollout in measured.rollouts:
        count = len(cut(rollout).ids)
        assert sum(rollout.signals["hindsight_chain"]) == count
        assert set(rollout.signals["hindsight"][count:]) <= {0.0}
        assert max(rollout.signals["hindsight_mean"]) <= 1e-6
    assert measured.metrics["helper/kl"] >= 0 and measured.metrics["helper/true"] <= 0


def test_the_alarm_rings_after_patience_updates() -> None:
    alarm = HelperAlarm(HelperConfig(kl_limit=0.5, patience=2))
    assert [alarm.check(kl, None) for kl in (0.6, 0.4, 0.7)] == [None] * 3
    assert "diverged from the policy: KL 0.900" in (alarm.check(0.9, None) or "")
    gamed = HelperAlarm(HelperConfig(kl_limit=0, correlation_floor=0.0, patience=2))
    assert gamed.check(9.0, -0.1) is None
    assert gamed.check(9.0, None) is None
    assert "gamed" in (gamed.check(9.0, -0.2) or "")


def test_correlation_is_within_groups() -> None:
    # Within each group the order is opposite, though the groups' means rise together.
    groups, ours = ["a", "a", "b", "b", "b"], [0.0, 1.0, 10.0, 11.0, 50.0]
    found = correlation_within(groups, ours, [1.0, 0.0, 11.0, 10.0, None])
    assert found == pytest.approx(-1.0)
    assert correlation_within(["a", "b"], [1.0, 2.0], [1.0, 2.0]) is None


def test_a_diverged_helper_stops_the_run(tmp_path) -> None:
    helper = {"kind": "copy", "problems": 8, "samples": 2, "updates": 20, "learning_rate": 0.05}
    config = _config(
        credit={"method": "hindsight", "form": "to_go"},
        helper=helper | {"kl_limit": 0.05, "patience": 1},
        train=_config().train.model_dump() | {"updates": 5},
    )
    run_recipe(config, tmp_path / "run", plain=True)
    arm = next((tmp_path / "run").glob("*-s0"))
    lines = [json.loads(x) for x in (arm / "metrics.jsonl").read_text().splitlines()]
    trained = [x for x in lines if x["split"] == "train"]
    assert len(trained) == 1 and trained[0]["metrics"]["helper/kl"] > 0.05
    assert (arm / "checkpoints" / "final" / "helper" / "helper.json").is_file()
    assert "the helper diverged" in (arm / "manifest.json").read_text()


@pytest.mark.parametrize("kind", ["side", "copy"])
def test_the_state_comes_back_to_the_bit(tmp_path, kind: str) -> None:
    policy, task, rollouts = _rollouts()
    config = _config(helper=_QUICK | {"updates": 3, "batch_size": 8, "kind": kind})
    sources = [HindsightSource(config, load_method("hindsight"), task, policy) for _ in "ab"]
    sources[0].measure(rollouts, [])
    sources[0]._recent += [sources[0].helper.row(r) for r in rollouts]
    sources[0].save(tmp_path)
    sources[1].load(tmp_path)
    for source in sources:
        source.helper.fit(list(source._recent), 2)
    one, two = (s.measure(rollouts, []).rollouts for s in sources)
    assert one == two
