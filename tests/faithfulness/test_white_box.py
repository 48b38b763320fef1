"""Measures that look into the network, on the tiny policy."""

import numpy as np
import pytest
import torch

from apportion.faithfulness.attention_suppression import AttentionSuppression
from apportion.faithfulness.receiver_heads import ReceiverHeads, kurtosis, received
from apportion.faithfulness.subject import Subject
from apportion.faithfulness.white_box import laid, logprobs
from apportion.policies.tiny import load_tiny
from apportion.tasks import load_task
from apportion.trace import Rollout


@pytest.fixture(scope="module")
def asked():
    task = load_task({"kind": "sums", "operations": [8, 8], "terms": [1, 9], "largest": 60})
    problem = task.problems("test", 1, seed=1)[0]
    text = task.gold_completion(problem)
    end = task.reasoning_end(text)
    rollout = Rollout(id="a", problem=problem, text=text, reasoning_end=end, outcome=1.0)
    return Subject(load_tiny("sums"), task), rollout


def test_a_mask_that_hides_nothing_changes_nothing(asked):
    subject, rollout = asked
    chain = laid(subject, subject.frame(rollout))
    tokens = len(chain.ids_T)
    seen = torch.ones(tokens, tokens, dtype=torch.bool).tril()
    ours = logprobs(subject.policy.model, chain.ids_T, seen[None])[0]
    with torch.no_grad():
        stock = subject.policy.model(chain.ids_T[None]).logits[0].float().log_softmax(-1)
    torch.testing.assert_close(ours, stock, atol=1e-4, rtol=0)


def test_hiding_a_step_changes_only_what_is_behind_it(asked):
    subject, rollout = asked
    (probe,) = AttentionSuppression().measure(subject, [rollout])
    influence = np.array(probe.meta["influence"])
    assert influence.shape == (8, 8) and np.triu(influence).sum() == 0
    assert influence.min() > -1e-6 and influence.max() > 0
    # Each line begins with the result of the one before.
    assert influence[4].argmax() == 3
    assert probe.value == max(probe.by_step) and probe.parts["all"] > 0


def test_only_some_steps_are_hidden_where_so_many_are_asked_for(asked):
    subject, rollout = asked
    (every,) = AttentionSuppression().measure(subject, [rollout])
    (some,) = AttentionSuppression(steps=3).measure(subject, [rollout])
    assert every.meta["tried"] == (8, 8) and some.meta["tried"] == (3, 8)
    tried = [i for i, value in enumerate(some.by_step) if value is not None]
    assert tried == [0, 3, 7]
    for row, own in zip(every.meta["influence"], some.meta["influence"], strict=True):
        assert [own[j] for j in tried] == pytest.approx([row[j] for j in tried], abs=1e-5)
        assert own[1] is None
    assert AttentionSuppression(steps=3).estimate(subject, [rollout]) * 2 == (
        AttentionSuppression().estimate(subject, [rollout])
    )


def test_receiver_heads(asked):
    subject, rollout = asked
    (probe,) = ReceiverHeads(heads=3, ignore=2).measure(subject, [rollout])
    assert len(probe.meta["heads"]) == 3 and probe.by_step[-2:] == (None, None)
    assert 0 < probe.parts["on_chain"] < 1
    (short,) = ReceiverHeads(ignore=6).measure(subject, [rollout])
    assert short.error is not None and "too few" in short.error
    assert kurtosis(np.array([[0.0, 0.0, 0.0, 1.0]]))[0] == pytest.approx(7 / 3 - 3)
    weights = np.arange(9.0).reshape(1, 3, 3)
    assert received(weights, 1).tolist() == [[4.5, 7.0]]
