"""Guided sampling on a model that can be enumerated, with the exact posterior as the helper."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace

import pytest
import torch

from apportion import UserError
from apportion.policies.guided import Guide, GuidedPolicy
from apportion.policies.tiny import load_tiny
from apportion.tasks import load_task

# Reasoning of two binary tokens r, s and a binary answer a: p(r), p(s | r), p(a | r, s).
_P_R = torch.tensor([0.7, 0.3])
_P_S = torch.tensor([[0.6, 0.4], [0.2, 0.8]])
_P_A = torch.tensor([[[0.9, 0.1], [0.5, 0.5]], [[0.3, 0.7], [0.05, 0.95]]])


def _posterior(a: int) -> torch.Tensor:
    joint = _P_R[:, None] * _P_S * _P_A[..., a]
    return joint / joint.sum()


class _Exact(torch.nn.Module):
    """The posterior given an answer, which is the first token of a row, as a language model."""

    def __init__(self) -> None:
        super().__init__()
        self.device = torch.device("cpu")

    def forward(self, input_ids, attention_mask):
        logits = torch.zeros(*input_ids.shape, 2)
        for b, row in enumerate(input_ids.tolist()):
            table = _posterior(row[0])
            for t in range(len(row)):
                logits[b, t] = table.sum(1).log() if t == 0 else (table[row[t]] + 1e-9).log()
        return SimpleNamespace(logits=logits)


def _guided(a: int, strength: float) -> torch.Tensor:
    """The distribution (r, s) of guided sampling, by walking all prefixes."""
    found = torch.zeros(2, 2)
    tokenizer = SimpleNamespace(pad_token_id=0)
    for r, s in itertools.product(range(2), repeat=2):
        guide = Guide(_Exact(), [[a]], lambda ids: len(ids) < 2, strength, tokenizer)
        first = guide(torch.tensor([[5]]), _P_R.log()[None]).softmax(-1)[0, r]
        second = guide(torch.tensor([[5, r]]), _P_S[r].log()[None]).softmax(-1)[0, s]
        found[r, s] = first * second
    return found


@pytest.mark.parametrize("a", [0, 1])
def test_strength_one_with_the_exact_helper_draws_from_the_posterior(a: int) -> None:
    torch.testing.assert_close(_guided(a, 1.0), _posterior(a))
    # By hand: p(r=0, s=0 | a=1) = 0.7 x 0.6 x 0.1 over the sum of the four.
    assert _posterior(1)[0, 0].item() == pytest.approx(0.042 / (0.042 + 0.14 + 0.042 + 0.228))


def test_strength_nought_is_the_policy_and_a_large_one_the_highest_velocity() -> None:
    torch.testing.assert_close(_guided(1, 0.0), _P_R[:, None] * _P_S)
    assert _guided(1, 60.0)[1, 1] > 0.99
    half = _guided(1, 0.5)
    assert (_P_R[:, None] * _P_S)[1, 1] < half[1, 1] < _guided(1, 2.0)[1, 1]


def test_what_is_answer_already_is_not_led() -> None:
    guide = Guide(_Exact(), [[1], [1]], lambda ids: ids == [], 1.0, SimpleNamespace(pad_token_id=0))
    scores = _P_R.log().expand(2, 2)
    guide(torch.tensor([[5], [5]]), scores)
    torch.testing.assert_close(guide(torch.tensor([[5, 0], [5, 1]]), scores), scores)


def _policy(**options):
    tiny = load_tiny("sums")
    helper = load_tiny("sums")
    end = tiny.tokenizer.eos_token_id

    def ask(problem):
        return [end, *tiny.prompt_ids(problem)]

    return tiny, GuidedPolicy(tiny, helper.model, ask, **options)


def test_without_strength_it_samples_what_the_policy_samples() -> None:
    tiny, guided = _policy(strength=0.0)
    task = load_task({"kind": "sums", "operations": [1, 2]})
    problems = task.problems("validation", 2, 0)
    options = {"n": 2, "max_tokens": 20, "seed": 4, "reasoning_end": task.reasoning_end}
    assert guided.sample(problems, **options) == tiny.sample(problems, **options)


def test_the_log_probabilities_are_those_of_the_policy() -> None:
    tiny, guided = _policy(strength=1.0)
    task = load_task({"kind": "sums", "operations": [1, 2]})
    problems = task.problems("validation", 2, 0)
    rollouts = guided.sample(
        problems, temperature=0.0, max_tokens=20, reasoning_end=task.reasoning_end
    )
    for rollout in rollouts:
        ids = torch.tensor([[*tiny.prompt_ids(rollout.problem), *rollout.token_ids]])
        count = len(rollout.token_ids)
        with torch.no_grad():
            logps = tiny.model(ids).logits[0, -count - 1 : -1].log_softmax(-1)
        chosen = logps.gather(1, ids[0, -count:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(rollout.logprobs), chosen, rtol=1e-3, atol=1e-3)


def test_what_cannot_be_led_is_said() -> None:
    with pytest.raises(UserError, match="strength -1 would lead away"):
        _policy(strength=-1.0)
    tiny, guided = _policy()
    guided._ask = lambda problem: [1] * 500
    problem = load_task({"kind": "sums"}).problems("train", 1, 0)[0]
    with pytest.raises(UserError, match="with the answer in front it takes 500 tokens"):
        guided.sample([problem], max_tokens=20)
    assert tiny.name == guided.name


def test_apportion_sample_leads_with_a_trained_helper(tmp_path) -> None:
    from typer.testing import CliRunner

    from apportion.cli import app
    from apportion.config.helper import HelperConfig
    from apportion.train.helper import Helper

    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "name: guided\ntask: {kind: sums, operations: [1, 2]}\n"
        "policy: {kind: tiny, checkpoint: sums}\ntrain: {max_completion_tokens: 24}\n"
    )
    helper = Helper(load_tiny("sums"), HelperConfig(), 0)
    torch.nn.init.normal_(helper.reader.model.network.down.weight, std=0.2)
    helper.save(tmp_path / "trained")
    base = ["sample", str(recipe), "--problems", "2", "-n", "2", "--plain", "--guide"]
    refused = CliRunner().invoke(app, [*base, "flow", "--out", str(tmp_path / "a")])
    assert isinstance(refused.exception, UserError) or "needs a trained helper" in refused.output
    told = f"helper.checkpoint={tmp_path / 'trained'}"
    out = tmp_path / "b"
    done = CliRunner().invoke(app, [*base, "flow", told, "--strength", "2", "--out", str(out)])
    assert done.exit_code == 0, done.output
    rollouts = [json.loads(line) for line in (out / "rollouts.jsonl").read_text().splitlines()]
    assert len(rollouts) == 4 and all(r["logprobs"] for r in rollouts)
