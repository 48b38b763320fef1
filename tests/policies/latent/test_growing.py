"""A cache that grows in place, against concatenation."""

import torch

from apportion.policies.latent.cache import cache_of
from apportion.policies.latent.growing import GrowingLayer


def pieces(count, length=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(2, 3, length, 4, dtype=torch.float64, generator=generator).requires_grad_()
        for _ in range(count)
    ]


def reads(kept):
    """Every length is read in a way of its own, as attention does."""
    return sum(((i + 1) * keys.sin() * values.cos()).sum() for i, (keys, values) in enumerate(kept))


def test_values_and_gradients_are_those_of_concatenation():
    (past,), news = pieces(1, length=5), pieces(80, seed=1)  # more than one block holds
    layer = GrowingLayer(past, past * 2)
    grown = [layer.update(new, new * 3) for new in news]
    keys, values, joined = past, past * 2, []
    for new in news:
        keys, values = torch.cat([keys, new], 2), torch.cat([values, new * 3], 2)
        joined.append((keys, values))
    for own, expected in zip(grown, joined, strict=True):
        assert torch.equal(own[0], expected[0])
        assert torch.equal(own[1], expected[1])
    own = torch.autograd.grad(reads(grown), [past, *news])
    expected = torch.autograd.grad(reads(joined), [past, *news])
    for one, other in zip(own, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert layer.get_seq_length() == 85


def test_two_caches_of_the_same_parts_do_not_write_into_each_other():
    (past,), (one, two) = pieces(1, length=5), pieces(2, seed=1)
    part = [(past, past * 2)]
    first, second = cache_of([part]), cache_of([part])
    keys_one, _ = first.layers[0].update(one, one)
    again = cache_of([[(keys_one, keys_one)]])
    first.layers[0].update(one, one)
    second.layers[0].update(two, two)
    again.layers[0].update(two, two)
    assert torch.equal(first.layers[0].keys, torch.cat([past, one, one], 2))
    assert torch.equal(second.layers[0].keys, torch.cat([past, two], 2))
    assert torch.equal(again.layers[0].keys, torch.cat([past, one, two], 2))
    assert torch.equal(keys_one, torch.cat([past, one], 2))


def test_earlier_lengths_share_the_memory_of_later_ones():
    (past,), news = pieces(1, length=5), pieces(3, seed=1)
    layer = GrowingLayer(past, past)
    places = {layer.update(new, new)[0].data_ptr() for new in news}
    assert len(places) == 1
    assert past.data_ptr() not in places
