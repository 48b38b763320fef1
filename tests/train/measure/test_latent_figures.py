"""How long a latent policy thinks, by hand."""

import pytest

from apportion import Problem, Rollout
from apportion.train.measure.latent_figures import latent_figures, rank_correlation


def rollout(steps, operations=None):
    problem = Problem(
        id="p", prompt="q", meta={} if operations is None else {"operations": operations}
    )
    meta = {} if steps is None else {"latent_steps": steps}
    return Rollout(id="r", problem=problem, text="", token_ids=(), token_spans=(),
                   reasoning_end=0, policy="x", meta=meta)  # fmt: skip


def test_ranks_with_ties_by_hand():
    # Ranks 1.5 1.5 3 4 against 1 2.5 2.5 4; centred, the products add up to 3.75, the squares to
    # 4.5 in either.
    found = rank_correlation([1, 1, 2, 3], [5, 6, 6, 9])
    assert found.value == pytest.approx(3.75 / 4.5)
    assert found.n == 4 and found.low <= found.value <= found.high
    assert rank_correlation([1, 2, 3], [9, 4, 1]).value == pytest.approx(-1)
    assert rank_correlation([1, 2, 3], [2, 2, 2]) is None


def test_steps_and_difficulty():
    found = latent_figures([rollout(2, 1), rollout(3, 2), rollout(7, 3)])
    assert found["eval/latent_steps"].value == 4.0
    assert found["eval/latent_steps_difficulty"].value == pytest.approx(1.0)
    assert set(latent_figures([rollout(2)])) == {"eval/latent_steps"}


def test_chains_of_text_have_none():
    assert latent_figures([rollout(None, 1)]) == {} == latent_figures([])
