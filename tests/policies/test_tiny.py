"""A tiny model from nothing."""

import pytest

from apportion.policies.tiny import build_model, train_tokenizer


def test_the_first_weights_spread_as_they_are_told():
    tokenizer = train_tokenizer(["a>b b>c"], 260)
    narrow, wide = (
        build_model(tokenizer, hidden_size=64, layers=1, initializer_range=spread)
        for spread in (0.02, 0.1)
    )
    spreads = [m.model.layers[0].mlp.up_proj.weight.std().item() for m in (narrow, wide)]
    assert spreads == pytest.approx([0.02, 0.1], rel=0.05)
