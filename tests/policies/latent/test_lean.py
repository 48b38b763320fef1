"""The leaner network computes what the network computes, and leaves it as it was."""

import pytest
import torch
from torch.nn.functional import gelu
from transformers import DynamicCache
from transformers.activations import NewGELUActivation

from apportion.policies.keys_values import keeping
from apportion.policies.latent import last_query
from apportion.policies.latent.lean import _fused, lean
from tests.policies.latent.small import gpt2, llama


def test_the_activation_and_its_gradient():
    torch.manual_seed(0)
    x = (4 * torch.randn(200, dtype=torch.float64)).requires_grad_()
    torch.testing.assert_close(_fused(x), NewGELUActivation()(x), rtol=1e-12, atol=1e-12)
    (own,) = torch.autograd.grad(_fused(x).sin().sum(), x)
    (expected,) = torch.autograd.grad(gelu(x, approximate="tanh").sin().sum(), x)
    torch.testing.assert_close(own, expected, rtol=1e-10, atol=1e-12)
    assert torch.autograd.gradcheck(_fused, (x[:8].detach().requires_grad_(),))


@pytest.mark.parametrize("make", [llama, gpt2])
def test_the_last_position_its_keys_and_all_gradients(make):
    torch.manual_seed(0)
    network = make()
    ids_BT = torch.randint(0, 20, (2, 5))
    found = []
    for last_only in (False, True):
        network.zero_grad()
        cache = DynamicCache()
        with lean(network, last_only=last_only):
            output = network.base_model(input_ids=ids_BT, **keeping(network.base_model, cache))
        last_BD = output.last_hidden_state[:, -1]
        kept = [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]
        (last_BD.sin().sum() + sum(tensor.cos().sum() for tensor in kept)).backward()
        gradients = [p.grad for p in network.base_model.parameters()]
        found.append([last_BD, *kept, *gradients])
    for whole, lean_one in zip(*found, strict=True):
        torch.testing.assert_close(lean_one, whole, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("make", [llama, gpt2])
def test_the_last_layer_asks_from_the_last_position_alone(make, monkeypatch):
    asked = []

    def attend(module, query, *given, **options):
        asked.append((module.layer_idx, query.shape[2]))
        return last_query_attention(module, query, *given, **options)

    last_query_attention = last_query.sdpa_attention_forward
    monkeypatch.setattr(last_query, "sdpa_attention_forward", attend)
    network = make()
    ids_BT = torch.randint(0, 20, (2, 5))
    with lean(network, last_only=True):
        network.base_model(input_ids=ids_BT)
    assert asked == [(1, 1)]
    network.set_attn_implementation("eager")
    with lean(network, last_only=True):
        eager = network.base_model(input_ids=ids_BT).last_hidden_state[:, -1]
    whole = network.base_model(input_ids=ids_BT).last_hidden_state[:, -1]
    torch.testing.assert_close(eager, whole, rtol=1e-10, atol=1e-12)
    assert asked == [(1, 1)]


def test_the_network_is_as_it_was_afterwards():
    network = gpt2()
    ids_BT = torch.randint(0, 20, (2, 5))
    before = network(input_ids=ids_BT).logits
    with pytest.raises(ZeroDivisionError), lean(network, last_only=True):
        assert not torch.equal(network(input_ids=ids_BT).logits[:, 0], before[:, 0])
        raise ZeroDivisionError
    assert torch.equal(network(input_ids=ids_BT).logits, before)
