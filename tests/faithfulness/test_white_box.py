"""Measures that look into the network, on the tiny policy."""

import numpy as np
import pytest
import torch

from apportion.faithfulness.attention_suppression import AttentionSuppression, _share
from apportion.faithfulness.receiver_heads import ReceiverHeads, kurtosis, received
from apportion.faithfulness.subject import Subject
from apportion.faithfulness.white_box import PROMPT, laid, logprobs, without_question
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
    step, question = max(probe.by_step), probe.parts["question"]
    assert probe.value == step / (step + question) and probe.parts["all"] > 0
    assert 0 < probe.value < 1


def test_hiding_the_question_from_what_is_behind_the_chain_is_a_mask_of_those_rows(asked):
    subject, rollout = asked
    chain = laid(subject, subject.frame(rollout))
    rows, columns = chain.owner_T >= chain.steps, chain.owner_T == PROMPT
    seen = torch.ones(len(rows), len(rows), dtype=torch.bool).tril()
    blind = seen.clone()
    for i in rows.nonzero().flatten():
        blind[i, columns] = False
    with torch.no_grad():
        base = logprobs(subject.policy.model, chain.ids_T, seen[None])[0]
        other = logprobs(subject.policy.model, chain.ids_T, blind[None])[0]
    at = (chain.owner_T == chain.answer).nonzero().flatten() - 1
    wanted = torch.nn.functional.kl_div(
        other[at], base[at], log_target=True, reduction="none"
    ).sum(-1).mean()  # fmt: skip
    found = without_question(subject.policy.model, chain)
    assert found == pytest.approx(float(wanted), rel=1e-4) and found > 0


def test_where_nothing_that_is_hidden_matters_there_is_no_share():
    assert _share(0.0, 0.0) is None and _share(-1e-9, 2e-4) is None
    assert _share(3.0, 1.0) == 0.75 and _share(1.0, -1e-9) == 1.0


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
    fewer, all_of_them = (
        AttentionSuppression(steps=k).estimate(subject, [rollout]) for k in (3, 8)
    )
    assert fewer * 12 == all_of_them * 7


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
