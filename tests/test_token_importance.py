"""Importance of tokens by blotting them out: against whole forward passes."""

import runpy
from pathlib import Path

import pytest
import torch

from apportion.errors import UserError
from apportion.policies.tiny import load_tiny
from apportion.tasks import load_task

FILE = Path(__file__).parents[1] / "benchmarks" / "token_importance.py"
token_importance = runpy.run_path(str(FILE))["token_importance"]


@pytest.fixture(scope="module")
def policy():
    return load_tiny("sums")


@pytest.fixture(scope="module")
def model(policy):
    return policy.model


@pytest.fixture(scope="module")
def solved(policy):
    """Prompt and worked solution of a real problem, as token ids."""
    task = load_task({"kind": "sums", "terms": [5, 5]})
    problem = task.problems("test", 1, 0)[0]
    gold = task.gold_completion(problem)
    return policy.prompt_ids(problem), policy.tokenizer(gold).input_ids


def by_hand(model, before, reasoning, after, blot):
    """Every blotted chain from its beginning."""

    def last(ids):
        with torch.no_grad():
            return model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)

    p = last([*before, *reasoning, *after])
    found = []
    for i in range(len(reasoning)):
        q = last([*before, *reasoning[:i], blot, *reasoning[i + 1 :], *after])
        found.append(float((p.exp() * (p - q)).sum()))
    return found


@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("behind", [0, 1])
def test_equals_whole_forward_passes(model, solved, batch_size, behind):
    before, gold = solved
    # What follows is the last sum's result ("so 10 + 5 =" and " 15"), so that its terms matter.
    start = gold[:-4]
    first, end = len(start) - 12, len(start) - behind
    before, reasoning, after = [*before, *start[:first]], start[first:end], start[end:]
    expected = by_hand(model, before, reasoning, after, 0)
    found = token_importance(model, before, reasoning, after, 0, batch_size=batch_size)
    assert found == pytest.approx(expected, abs=1e-4)
    assert max(expected) > 0.1  # it is no comparison of zeros


def test_a_token_that_is_the_blot_already_has_no_importance(model, solved):
    before, gold = solved
    *reasoning, blot, equals = gold[:-4]  # "so 10 +", " 5", " ="
    found = token_importance(model, before, reasoning, [blot, equals], blot)
    same = [value for token, value in zip(reasoning, found, strict=True) if token == blot]
    assert same and same == pytest.approx([0] * len(same), abs=1e-5)
    assert max(found) > 0.1


def test_one_token_and_none(model):
    assert token_importance(model, [5, 6], [], [7], 0) == []
    expected = by_hand(model, [5], [9], [7], 0)
    assert token_importance(model, [5], [9], [7], 0) == pytest.approx(expected, abs=1e-4)


def test_what_cannot_be_done_is_said(model):
    with pytest.raises(UserError, match="nothing before the reasoning"):
        token_importance(model, [], [9], [7], 0)
    with pytest.raises(UserError, match="exceeds the context"):
        token_importance(model, [5], [9] * 100_000, [7], 0)
