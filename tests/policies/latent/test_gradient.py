"""Gradients through the latent steps: cures, truncation, recomputation, many steps."""

import subprocess
import sys

import pytest
import torch

from apportion.policies.latent.batch import pad_batch, pad_questions
from apportion.policies.latent.cache import cache_of, part_of
from apportion.policies.latent.gradient import Bptt, StepGradients, bad_steps

from .small import CELLS, batch, gpt2, gradients, latent


@pytest.mark.parametrize(
    ("bptt", "expected"),
    [
        (Bptt(), [(0, 5, True)]),
        (Bptt(recompute=2), [(0, 2, True), (2, 4, True), (4, 5, True)]),
        (Bptt(truncate=2), [(0, 3, False), (3, 5, True)]),
        (Bptt(truncate=2, recompute=1), [(0, 3, False), (3, 4, True), (4, 5, True)]),
        (Bptt(truncate=9), [(0, 5, True)]),
    ],
)
def test_stretches(bptt, expected):
    assert bptt.stretches(5) == expected


def test_no_steps_are_no_stretch():
    assert Bptt().stretches(0) == Bptt(truncate=3, recompute=2).stretches(0) == []


# A chain z' = 3 z over 3 steps and L = (3, 4) . z: the norms that arrive at each step, and dL/dz_1
# as a multiple of (3, 4). A cured step passes three times the last one's norm on.
CURES = {
    "off": ([27 * 5, 9 * 5, 3 * 5], 27.0),
    "clip": ([9 * 5, 9 * 5, 3 * 5], 3.0),
    "equal": ([9 * 5, 9 * 5, 3 * 5], 3.0),
}


@pytest.mark.parametrize("cure", CURES)
def test_cures_of_an_exploding_chain(cure):
    gradients = StepGradients(torch.tensor([3]), cure)
    start = state = torch.ones(1, 2, requires_grad=True)
    for step in range(3):
        latent_BE = state.view_as(state)
        gradients.watch(latent_BE, step)
        state = 3 * latent_BE
    (state * torch.tensor([3.0, 4.0])).sum().backward()
    norms, factor = CURES[cure]
    assert gradients.norms() == pytest.approx(norms)
    assert start.grad[0].tolist() == pytest.approx([3 * factor, 4 * factor])


@pytest.mark.parametrize(("cure", "left"), [("off", 0.125), ("clip", 0.125), ("equal", 0.5)])
def test_cures_of_a_vanishing_chain(cure, left):
    gradients = StepGradients(torch.tensor([3]), cure)
    start = state = torch.ones(1, 1, requires_grad=True)
    for step in range(3):
        latent_BE = state.view_as(state)
        gradients.watch(latent_BE, step)
        state = 0.5 * latent_BE
    state.sum().backward()
    assert start.grad.item() == pytest.approx(left)


def test_a_row_is_measured_against_its_own_last_step():
    gradients = StepGradients(torch.tensor([1, 2]), "equal")
    start = state = torch.ones(2, 1, requires_grad=True)
    for step in range(2):
        latent_BE = state.view_as(state)
        gradients.watch(latent_BE, step)
        active = torch.tensor([[step < 1], [True]])
        state = torch.where(active, 4 * latent_BE, state)
    (state * torch.tensor([[10.0], [1.0]])).sum().backward()
    # Row 0 stops after one step: 40 arrives there and stays. Row 1: 4, then 16 cut to 4.
    assert start.grad.tolist() == [[40.0], [4.0]]
    assert gradients.norms() == [pytest.approx((40 + 16) / 2), 4.0]


def test_bad_steps():
    assert bad_steps([1.0, None, 2.0]) == []
    assert bad_steps([1.0, float("inf"), None, float("nan")]) == [2, 4]


@pytest.mark.parametrize("cell", CELLS, ids=str)
@pytest.mark.parametrize("recompute", [1, 2, 3])
def test_recomputed_activations_give_the_same_gradient(cell, recompute):
    model, data = latent(cell, window=0), batch()
    kept = model(data, Bptt(cure="clip"))
    expected = gradients(model, kept.loss)
    again = model(data, Bptt(recompute=recompute, cure="clip"))
    found = gradients(model, again.loss)
    assert again.loss.item() == pytest.approx(kept.loss.item(), rel=1e-13)
    assert again.gradients.norms() == pytest.approx(kept.gradients.norms(), rel=1e-10)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-10, atol=1e-15, msg=name)


def test_recomputation_trains_the_cell_of_a_frozen_network():
    model = latent("mlp")
    model.network.requires_grad_(False)
    expected = gradients(model, model(batch()).loss)
    found = gradients(model, model(batch(), Bptt(recompute=1)).loss)
    assert expected and all(name.startswith("cell.") for name in found)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-10, atol=1e-15)


def test_recomputation_repeats_dropout():
    model = latent("mlp", gpt2(resid_pdrop=0.3, attn_pdrop=0.3)).train()
    found = []
    for bptt in (Bptt(), Bptt(recompute=1)):
        torch.manual_seed(5)
        found.append(gradients(model, model(batch(), bptt).loss))
    for name, gradient in found[1].items():
        torch.testing.assert_close(gradient, found[0][name], rtol=1e-9, atol=1e-14, msg=name)


def test_truncation_is_the_gradient_with_earlier_steps_held_constant():
    model, question, answer, steps, kept = latent("mlp"), [1, 2, 3], [4, 5], 5, 2
    data = pad_batch([question], [answer], steps, pad_id=0)
    cut = model(data, Bptt(truncate=kept))
    found = gradients(model, cut.loss)
    assert cut.loss.item() == pytest.approx(model(data).loss.item(), rel=1e-13)
    norms = cut.gradients.norms()
    assert [norm is None for norm in norms] == [True] * 3 + [False] * 2

    # The same by hand: the question with its graph, three steps as constants, two with a graph.
    with torch.no_grad():
        frozen = model.think(pad_questions([question], steps - kept, pad_id=0))
    cache, decoder = cache_of([]), model.decoder
    embeds = decoder.embed(torch.tensor([question]))
    decoder.run(embeds, torch.ones(1, 3), torch.arange(3)[None], cache)
    cache = cache_of([part_of(cache), *frozen.past[1:]])
    hidden = frozen.hidden_BD
    for step in (3, 4):
        latent_BE, _ = model.cell(hidden, hidden)
        mask, position = torch.ones(1, 4 + step), torch.tensor([[3 + step]])
        hidden = decoder.run(latent_BE[:, None], mask, position, cache)[:, 0]
    first = decoder.embed(torch.tensor([[4]]))
    rest = decoder.run(first, torch.ones(1, 9), torch.tensor([[8]]), cache)
    logits = decoder.logits(torch.cat([hidden, rest[:, 0]]))
    expected = gradients(model, torch.nn.functional.cross_entropy(logits, torch.tensor(answer)))
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-10, atol=1e-14, msg=name)


@pytest.mark.parametrize("steps", [64, 256])
def test_many_steps_run_and_reach_the_first(steps):
    model = latent("hrpo", gpt2(n_positions=300))
    output = model(batch([steps, steps // 2, 3]), Bptt(recompute=16))
    output.loss.backward()
    norms = output.gradients.norms()
    assert len(norms) == steps and not bad_steps(norms) and min(norms) > 0


_PEAK = """
import resource, torch
from transformers import LlamaConfig, LlamaForCausalLM
from apportion.policies.latent.batch import pad_batch
from apportion.policies.latent.gradient import Bptt
from apportion.policies.latent.model import LatentModel
from apportion.policies.latent.options import parse_cell
torch.set_num_threads(1)
network = LlamaForCausalLM(LlamaConfig(vocab_size=64, hidden_size=64, intermediate_size=96,
    num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=512))
model = LatentModel(network, parse_cell("mlp"), steps=256)
ids = torch.randint(64, (8, 32)).tolist()
model(pad_batch(ids, ids, 1, 0)).loss.backward()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model(pad_batch(ids, ids, 256, 0), Bptt(recompute={recompute})).loss.backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_recomputation_saves_memory():
    def peak(recompute: int) -> int:
        code = _PEAK.format(recompute=recompute)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        return int(done.stdout)

    assert peak(16) < 0.3 * peak(0)
