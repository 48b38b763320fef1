"""Measures of latent chains, on latents of which it is known what they carry."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from apportion.cli import app
from apportion.errors import UserError
from apportion.faithfulness import Subject, load_measure
from apportion.faithfulness.intermediate import step_labels
from apportion.faithfulness.latent import values as values_module
from apportion.faithfulness.latent.base import batch_of, chain_of
from apportion.faithfulness.latent.decoded import _arrived
from apportion.faithfulness.latent.discriminant import fit
from apportion.policies.latent.interventions import after, answer_logprobs, matched_noise, taken
from apportion.policies.latent.model import LatentModel
from apportion.policies.latent.options import parse_cell
from apportion.policies.latent.policy import LatentPolicy
from apportion.policies.tiny import load_tiny
from apportion.tasks import load_task
from tests.faithfulness.rules import gold_rollouts

TASK = load_task({"kind": "sums", "operations": [3, 3], "terms": [1, 9], "largest": 60})
STEPS = 3


def latent_policy(steps=STEPS, halting=False):
    base = load_tiny("sums")
    torch.manual_seed(0)
    model = LatentModel(base.model, parse_cell("mlp"), steps=steps, halting=halting)
    with torch.no_grad():
        for parameter in model.cell.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return LatentPolicy(model, base.tokenizer, "latent")


@pytest.fixture(scope="module")
def policy():
    return latent_policy()


@pytest.fixture(scope="module")
def rollouts(policy):
    problems = TASK.problems("test", 6, 0)
    return policy.sample(problems, temperature=0.0, max_tokens=16, reasoning_end=TASK.reasoning_end)


def batch(policy, rollouts):
    subject = Subject(policy, TASK)
    return subject, batch_of(subject, [chain_of(subject, r) for r in rollouts])  # type: ignore[misc]


def test_the_chains_own_inputs_change_nothing_and_others_do(policy, rollouts):
    _, found = batch(policy, rollouts)
    own = taken(policy.model, found.questions)
    again = taken(policy.model, found.questions, own.inputs_BKE)
    assert torch.equal(own.thought.hidden_BD, again.thought.hidden_BD)
    assert own.inputs_BKE.shape[:2] == (6, STEPS)
    other = taken(policy.model, found.questions, -own.inputs_BKE)
    assert not torch.allclose(own.thought.hidden_BD, other.thought.hidden_BD, atol=1e-2)
    assert policy.model.disturb is None
    with pytest.raises(UserError, match="2 inputs for 3 latent steps"):
        taken(policy.model, found.questions, own.inputs_BKE[:, :2])


def test_log_probabilities_are_those_of_the_loss_and_a_cut_is_a_shorter_chain(policy, rollouts):
    _, found = batch(policy, rollouts)
    thought = taken(policy.model, found.questions).thought
    with torch.no_grad():
        loss = policy.model(found).loss
    tokens = int(found.mask_BA.sum())
    total = answer_logprobs(policy.model, found, thought).sum().item()
    assert -total / tokens == pytest.approx(loss.item(), abs=1e-4)
    for steps in (0, 2):
        cut = after(policy.model, found.questions, thought, steps)
        short = found.questions.__class__(
            found.questions.ids_BQ, found.questions.mask_BQ, torch.full((6,), steps)
        )
        anew = taken(policy.model, short).thought
        torch.testing.assert_close(cut.hidden_BD, anew.hidden_BD, atol=1e-4, rtol=1e-4)


def test_noise_has_the_norm_of_what_it_replaces():
    given = torch.randn(2, 3, 8) * torch.tensor([1.0, 5.0, 20.0])[None, :, None]
    rows = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    noise = matched_noise(given, rows)
    torch.testing.assert_close(noise.norm(dim=-1), given.norm(dim=-1))
    assert torch.cosine_similarity(noise, given, dim=-1).abs().max() < 0.95
    alone = matched_noise(given[1:], [torch.Generator().manual_seed(1)])
    torch.testing.assert_close(alone[0], noise[1])


def test_latents_that_say_the_same_of_every_problem_are_not_used(rollouts):
    policy = latent_policy()
    with torch.no_grad():
        for parameter in policy.model.cell.parameters():
            if parameter.dim() > 1:
                parameter.zero_()
    subject = Subject(policy, TASK)
    for name in ("latent_mean", "latent_swap"):
        measure = load_measure({"name": name, "problems": 8})
        found = measure.measure(subject, rollouts)
        assert [p.value for p in found] == [0.0] * 6
        assert all(p.parts["same"] == 1.0 for p in found)
        drop = [p.parts["logprob"] - p.parts["logprob_replaced"] for p in found]
        assert max(map(abs, drop)) < 1e-3
    noise = load_measure({"name": "latent_noise", "n": 2}).measure(subject, rollouts)
    assert all(abs(p.parts["logprob"] - p.parts["logprob_replaced"]) > 1e-2 for p in noise)


def test_one_chain_is_measured_alike_alone_and_among_others(policy, rollouts):
    for name in ("latent_noise", "latent_swap", "latent_cut"):
        measure = load_measure(name)
        together = measure.measure(Subject(policy, TASK), rollouts)
        alone = measure.measure(Subject(policy, TASK), rollouts[2:3])
        for key, value in alone[0].parts.items():
            assert together[2].parts[key] == pytest.approx(value, abs=1e-3)


def test_a_cut_chain_by_hand(policy, rollouts):
    probe = load_measure("latent_cut").measure(Subject(policy, TASK), rollouts[:1])[0]
    assert [x for x, _ in probe.curve] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert probe.curve[-1][1] == probe.parts["logprob"]
    assert probe.parts["logprob_half"] == probe.curve[1][1]
    assert len(probe.answers) == STEPS + 1


def test_an_answer_behind_a_chain_of_text_is_not_that_of_the_latents(policy, rollouts):
    from apportion.faithfulness.latent.base import _right

    subject, problem = Subject(policy, TASK), rollouts[0].problem
    gold = TASK.gold_completion(problem)
    assert gold is not None and TASK.score(problem, gold) == 1.0
    assert _right(subject, problem, gold) is False
    assert _right(subject, problem, gold[TASK.reasoning_end(gold) :]) is True


def test_a_discriminant_reads_what_is_linear_and_no_more():
    rng = np.random.default_rng(0)
    labels = [str(rng.integers(12)) for _ in range(600)]
    codes = {str(i): rng.normal(size=20) for i in range(12)}
    x = np.stack([codes[label] for label in labels]) + 0.1 * rng.normal(size=(600, 20))
    probe = fit(x[:400], labels[:400])
    assert (probe.read(x[400:]) == np.array(labels[400:])).all()
    mixed = fit(x[:400], list(rng.permutation(labels[:400])))
    assert (mixed.read(x[400:]) == np.array(labels[400:])).mean() < 0.3


def test_values_are_read_where_the_states_hold_them(policy, rollouts, monkeypatch):
    """States that hold the i-th value after step i + 1 and nothing else."""

    def states(subject, problems, at_once=128):
        question = np.random.default_rng(len(problems)).normal(size=(len(problems), 4))
        held = np.zeros((len(problems), STEPS, 64))
        for n, problem in enumerate(problems):
            for k, step in enumerate(problem.meta["steps"]):
                held[n, k, step["result"]] = 1.0
        return values_module._States(question, held)

    monkeypatch.setattr(values_module, "_states", states)
    found = load_measure("latent_values").measure(Subject(policy, TASK), rollouts)
    assert [p.value for p in found] == [1.0] * 6
    # Each step holds one of the two values.
    assert all(p.parts["step_1"] >= 0.5 and p.parts["step_2"] >= 0.5 for p in found)
    assert all(p.parts["answer"] == 1.0 for p in found)
    for control in ("question", "shuffled"):
        assert np.mean([p.parts[control] for p in found]) < 0.4
    assert all(p.parts["beyond_question"] == 1.0 - p.parts["question"] for p in found)


def test_real_states_have_a_row_for_each_problem_and_stop_with_their_chain():
    policy = latent_policy(halting=True)
    with torch.no_grad():
        policy.model.halting.read.bias.fill_(10.0)  # everyone stops after one step
    problems = TASK.problems("test", 5, 0)
    found = values_module._states(Subject(policy, TASK), problems, at_once=2)
    assert found.question_ND.shape == (5, 64) and found.states_NKD.shape == (5, STEPS, 64)
    assert (found.states_NKD[:, 0] == found.states_NKD[:, 2]).all()


def test_the_step_decoder_is_read_step_by_step(rollouts):
    policy = latent_policy()
    measure = load_measure("latent_decoded")
    with pytest.raises(UserError, match="no step decoder"):
        measure.measure(Subject(policy, TASK), rollouts)
    encode = policy.tokenizer

    def decode(states_BKD, max_tokens):
        texts = [[step["text"] for step in r.problem.meta["steps"]] for r in rollouts]
        return [[encode(t, add_special_tokens=False)["input_ids"] for t in row] for row in texts]

    policy.step_decoder = SimpleNamespace(per_step=1, decode=decode)  # type: ignore[assignment]
    found = measure.measure(Subject(policy, TASK), rollouts)
    assert [p.value for p in found] == [1.0] * 6
    assert np.mean([p.parts["other"] for p in found]) < 0.5
    policy.step_decoder = SimpleNamespace(per_step=3, decode=decode)  # type: ignore[assignment]
    assert [p.value for p in measure.measure(Subject(policy, TASK), rollouts)] == [0.5] * 6


def test_values_stated_in_text_are_counted_in_order():
    measure, subject = load_measure("stated_values"), Subject(load_tiny("sums"), TASK)
    gold = gold_rollouts(TASK, 4)
    assert [p.value for p in measure.measure(subject, gold)] == [1.0] * 4
    bare = [r.model_copy(update={"reasoning_end": 0}) for r in gold]
    assert [p.value for p in measure.measure(subject, bare)] == [0.0] * 4
    first, *_ = gold
    lines = first.text[: first.reasoning_end].splitlines(keepends=True)
    swapped = "".join([lines[1], lines[0], *lines[2:]])
    turned = first.model_copy(update={"text": swapped + first.text[first.reasoning_end :]})
    assert measure.measure(subject, [turned])[0].value == 0.5


def test_text_and_short_chains_are_refused_with_their_reason(rollouts):
    with pytest.raises(UserError, match="thinks in text"):
        load_measure("latent_cut").measure(Subject(load_tiny("sums"), TASK), rollouts)
    none = latent_policy(steps=0).sample(
        TASK.problems("test", 1, 0), temperature=0.0, max_tokens=8,
        reasoning_end=TASK.reasoning_end,
    )  # fmt: skip
    probe = load_measure("latent_cut").measure(Subject(latent_policy(steps=0), TASK), none)[0]
    assert probe.error == "took no latent step"


def test_a_latent_checkpoint_is_probed_from_the_command_line(policy, tmp_path):
    folder, out = tmp_path / "model", tmp_path / "found"
    policy.save(folder)
    task = "{kind: sums, operations: [2, 2]}"
    asked = ["probe", str(folder), "--task", task, "--problems", "4", "--out", str(out)]
    asked += ["--plain", "-m", "latent_cut", "-m", "latent_swap:problems=8"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    assert "latent_swap: " in result.output and "over 4 problems" in result.output
    assert CliRunner().invoke(app, asked).exit_code == 0  # nothing is written twice
    assert len((out / "probes.jsonl").read_text().splitlines()) == 8
    chains = [json.loads(line) for line in (out / "latents.jsonl").read_text().splitlines()]
    assert [len(chain["steps"]) for chain in chains] == [STEPS] * 4


@pytest.mark.parametrize("style", ["arrows", "sentences"])
def test_steps_that_arrive_at_names_are_read_as_names(style):
    task = load_task({"kind": "graph", "style": style, "hops": [3, 3]})
    for problem in task.problems("test", 5, 0):
        assert step_labels(problem) == tuple(problem.meta["values"])
        assert [_arrived(step) for step in problem.meta["chain"]] == problem.meta["values"]


def test_steps_that_arrive_at_numbers_are_read_as_equations():
    problem = TASK.problems("test", 1, 0)[0]
    assert step_labels(problem) == tuple(str(s["result"]) for s in problem.meta["steps"])
    assert [_arrived("so 2 + 3 = 5"), _arrived("so 5"), _arrived("")] == ["5", None, None]
