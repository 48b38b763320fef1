"""Methods of latent learning: expected losses against enumeration, stages, advantages by hand."""

import math

import pytest
import torch

from apportion.config.latent_methods import HaltingMethod
from apportion.train.latent.methods.codi import distance_of
from apportion.train.latent.methods.halting import expected_loss
from apportion.train.latent.methods.outcome import group_advantages
from apportion.train.latent.methods.stop_bit import surrogate


def test_the_expected_loss_is_the_recursion():
    from apportion.policies.latent.halting import log_stopping

    scores = torch.tensor([[0.3, -0.7, 5.0]], dtype=torch.float64, requires_grad=True)
    losses = torch.tensor([[3.0, 1.0, 2.0]], dtype=torch.float64)
    loss, _, _ = expected_loss(losses, log_stopping(scores), 1, HaltingMethod(beta=0.0))
    (found,) = torch.autograd.grad(loss, scores)
    a, b = scores.sigmoid()[0, :2].tolist()
    inner = b * 1.0 + (1 - b) * 2.0
    assert loss.item() == pytest.approx(a * 3.0 + (1 - a) * inner)
    expected = [a * (1 - a) * (3.0 - inner), (1 - a) * b * (1 - b) * (1.0 - 2.0), 0.0]
    assert found[0].tolist() == pytest.approx(expected)


def test_the_stop_bit_is_unbiased():
    log_p = torch.tensor([[0.2, -0.4]], dtype=torch.float64, requires_grad=True)
    p = log_p.log_softmax(-1)
    losses = torch.tensor([2.0, 0.5], dtype=torch.float64)
    total = 0.0
    for i in range(2):
        for j in range(2):
            weight = (p[0, i] + p[0, j]).exp().detach()
            pair = torch.stack([losses[i], losses[j]])[None]
            total = total + weight * surrogate(pair, torch.stack([p[0, i], p[0, j]])[None])
    (found,) = torch.autograd.grad(total, log_p, retain_graph=True)
    (expected,) = torch.autograd.grad((p.exp()[0] * losses).sum(), log_p)
    torch.testing.assert_close(found, expected)


def test_advantages_and_distance_by_hand():
    found = group_advantages([1.0, 0.0, 1.0, None], 2, scale=False)
    assert found.tolist() == [0.5, -0.5, 0.0, 0.0]
    own, other = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [2.0]])
    assert distance_of([own, own], [own, other]).item() == pytest.approx(0.5 / math.sqrt(2))
