"""Weight gradients put off until all steps are behind, against those of the plain network."""

import pytest
import torch

from apportion.policies.latent import deferred
from apportion.policies.latent.deferred import deferred_weights
from apportion.policies.latent.gradient import Bptt
from tests.policies.latent.small import batch, gpt2, latent, llama
from tests.policies.latent.small import gradients as gradients_of


@pytest.fixture(autouse=True)
def every_weight(monkeypatch):
    monkeypatch.setattr(deferred, "_SMALLEST", 0)


def steps_of(network, count=5):
    """A loss in which each pass of the network reads what the one before wrote."""
    state_B1E = torch.linspace(-1, 1, 3 * 8, dtype=torch.float64).view(3, 1, 8).requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    found = state_B1E + network.get_input_embeddings()(torch.tensor([[1], [2], [1]]))
    for step in range(count):
        found = network.base_model(inputs_embeds=found).last_hidden_state
        found = found + network.get_input_embeddings()(torch.tensor([[step], [2], [7]]))
        total = total + (step + 1) * found.sin().sum()
    return total, state_B1E


def gradients(network, loss):
    network.zero_grad()
    loss.backward()
    return [None if p.grad is None else p.grad.clone() for p in network.parameters()]


@pytest.mark.parametrize("make", [llama, gpt2])
@pytest.mark.parametrize("rows", [1, 7, 1024])
def test_values_and_gradients_are_those_of_the_network(make, rows, monkeypatch):
    monkeypatch.setattr(deferred, "_ROWS", rows)
    network = make()
    loss, start = steps_of(network)
    expected = gradients(network, loss)
    with deferred_weights(network):
        own_loss, own_start = steps_of(network)
    own = gradients(network, own_loss)
    torch.testing.assert_close(own_loss, loss, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(own_start.grad, start.grad, rtol=1e-10, atol=1e-12)
    for one, other in zip(own, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_a_pass_that_stops_before_the_weights_leaves_nothing_for_the_next():
    network = gpt2()
    with deferred_weights(network):
        loss, start = steps_of(network)
    expected = gradients(network, loss)
    with deferred_weights(network):
        loss, start = steps_of(network)
    torch.autograd.grad(loss, start, retain_graph=True)
    for one, other in zip(gradients(network, loss), expected, strict=True):
        assert (one is None and other is None) or torch.equal(one, other)


def test_each_backward_pass_adds_once():
    network = gpt2()
    with deferred_weights(network):
        loss, _ = steps_of(network)
    network.zero_grad()
    loss.backward(retain_graph=True)
    once = [p.grad.clone() for p in network.base_model.parameters() if p.grad is not None]
    loss.backward()
    twice = [p.grad for p in network.base_model.parameters() if p.grad is not None]
    for one, two in zip(once, twice, strict=True):
        torch.testing.assert_close(two, 2 * one, rtol=1e-12, atol=1e-12)


def test_a_block_inside_of_another_is_part_of_it():
    network = gpt2()
    loss, _ = steps_of(network)
    expected = gradients(network, loss)
    with deferred_weights(network):
        with deferred_weights(network):
            loss, _ = steps_of(network)
        assert any("forward" in vars(module) for module in network.modules())
        with torch.no_grad():
            assert not steps_of(network)[0].requires_grad
        more, _ = steps_of(network)
    for one, other in zip(gradients(network, (loss + more) / 2), expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_frozen_weights_stay_without_a_gradient_and_others_learn():
    network = gpt2()
    frozen = network.transformer.h[0].mlp.c_fc
    frozen.weight.requires_grad_(False)
    network.transformer.h[1].mlp.c_fc.bias.requires_grad_(False)
    loss, _ = steps_of(network)
    expected = gradients(network, loss)
    with deferred_weights(network):
        loss, _ = steps_of(network)
    own = gradients(network, loss)
    assert frozen.weight.grad is None and frozen.bias.grad is not None
    for one, other in zip(own, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_small_weights_are_left_alone(monkeypatch):
    monkeypatch.setattr(deferred, "_SMALLEST", 8 * 32)
    network = gpt2()
    with deferred_weights(network):
        changed = [tuple(m.weight.shape) for m in network.modules() if "forward" in vars(m)]
    assert changed == [(64, 8), *2 * [(8, 32), (32, 8)]]


def test_the_network_is_as_it_was_afterwards():
    network = llama()
    with pytest.raises(ZeroDivisionError), deferred_weights(network):
        raise ZeroDivisionError
    assert not any("forward" in vars(module) for module in network.modules())
    with torch.no_grad(), deferred_weights(network):
        assert not any("forward" in vars(module) for module in network.modules())


@pytest.mark.parametrize("bptt", [Bptt(), Bptt(recompute=2), Bptt(truncate=1)], ids=str)
@pytest.mark.parametrize("cell", ["mlp", "soft"])
@pytest.mark.parametrize("make", [llama, gpt2])
def test_a_latent_policy_learns_the_same(make, cell, bptt, monkeypatch):
    model = latent(cell, make())
    found = gradients_of(model, model(batch(), bptt).loss)
    monkeypatch.setattr(deferred, "_SMALLEST", 10**9)
    expected = gradients_of(model, model(batch(), bptt).loss)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12, msg=name)


def test_on_an_accelerator_the_network_is_left_alone():
    network = llama().to("meta")
    with deferred_weights(network):
        assert not any("forward" in vars(module) for module in network.modules())


def test_a_head_with_a_bias_does_not_share_rows_with_the_embeddings(monkeypatch):
    network = llama(tie_word_embeddings=True)
    network.lm_head.bias = torch.nn.Parameter(torch.linspace(-1, 1, 20, dtype=torch.float64))

    def loss_of():
        ids_BT = torch.tensor([[1, 2, 3], [4, 5, 6]])
        return network(input_ids=ids_BT).logits.sin().sum()

    expected = gradients(network, loss_of())
    with deferred_weights(network):
        loss = loss_of()
    for own, other in zip(gradients(network, loss), expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-10, atol=1e-12)
