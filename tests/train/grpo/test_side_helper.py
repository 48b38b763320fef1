"""The helper beside the policy: it begins as the policy and learns what the answer tells."""

from __future__ import annotations

import itertools

import pytest
import torch

from apportion import UserError
from apportion.config.helper import HelperConfig
from apportion.policies.hindsight import Chain, next_logps, velocities
from apportion.policies.language_model import LanguageModelPolicy
from apportion.policies.side_helper import beside, side_prompt
from apportion.policies.tiny import load_tiny
from apportion.tasks import load_task
from apportion.train.helper import Helper, cut
from apportion.train.measure.cost_meter import CostMeter
from apportion.train.row_learner import RowLearner
from apportion.train.supervised import Row
from tests.train.test_helper import _toy

_END = 4


def test_beside_an_untrained_network_is_the_policy_itself() -> None:
    policy = load_tiny("sums")
    task = load_task({"kind": "sums", "operations": [2, 3]})
    rollouts = policy.sample(task.problems("validation", 3, 0), n=2, max_tokens=30, seed=3)
    helper = Helper(policy, HelperConfig(), 0)
    found = helper.velocities(rollouts, ["17"] * len(rollouts))
    assert [len(v.h_T) for v in found] == [len(cut(r).ids) for r in rollouts]
    assert max(abs(v.h_T).max() for v in found) < 1e-4
    assert not any(
        p is q for p in helper.reader.model.parameters() for q in policy.model.parameters()
    )


def test_a_row_is_read_without_its_answer() -> None:
    """What the trunk sees stands at the positions it would have alone, whatever the answer."""
    toy = _toy(3.0)
    model = beside(toy.model, _END, width=8, share=0.0, seed=0)
    rows = [side_prompt(answer, _END, [2, 1]) for answer in ([3], [1, _END, 2, 0])]
    assert rows == [[3, _END, 2, 1], [1, 2, 0, _END, 2, 1]]
    one, two = next_logps(model, rows, [[0, 1, 3], [0, 1]], 0)
    (alone,) = next_logps(toy.model, [[2, 1]], [[0, 1, 3]], 0)
    torch.testing.assert_close(one, alone, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(two, alone[:2], rtol=1e-4, atol=1e-4)


def test_at_convergence_it_adds_up_to_what_the_reasoning_does_for_the_answer() -> None:
    """By enumeration: two tokens of reasoning, one of answer; token 4 ends and is never drawn."""
    toy = _toy(6.0)
    with torch.no_grad():
        every = list(itertools.product(range(4), repeat=3))
        ids = torch.tensor([[2, *s] for s in every])
        logits = toy.model(ids).logits
        steps = logits.log_softmax(-1)
    per_token = torch.stack([steps[:, t].gather(1, ids[:, t + 1, None])[:, 0] for t in range(3)])
    joint = per_token.sum(0).exp().double()
    model = beside(toy.model, _END, width=32, share=0.0, seed=0)
    learner = RowLearner(model, toy.tokenizer, learning_rate=1e-2)
    rows = [
        Row(side_prompt([a], _END, [2]), [r, s], float(p))
        for (r, s, a), p in zip(every, joint, strict=True)
    ]
    for step in range(250):
        learner.step(rows, 1 - step / 250)
    marginal = [sum(joint[i] for i, s in enumerate(every) if s[2] == a) for a in range(4)]
    # p(r, s | a) of the restricted alphabet, against p(r, s): the gain of each chain.
    gain = [float(joint[i] / marginal[a]) for i, (_, _, a) in enumerate(every)]
    prior = per_token[:2].sum(0)
    truth = [float(torch.log(torch.tensor(g)) - prior[i]) for i, g in enumerate(gain)]
    chains = [Chain([2], side_prompt([a], _END, [2]), [r, s]) for r, s, a in every]
    helper = LanguageModelPolicy.__new__(LanguageModelPolicy)
    helper.model = model
    found = velocities(toy, helper, chains)  # type: ignore[arg-type]
    error = sum(
        float(p) * abs(v.h_T.sum() - t) for p, v, t in zip(joint, found, truth, strict=True)
    )
    size = sum(float(p) * abs(t) for p, t in zip(joint, truth, strict=True))
    assert size > 0.1 * float(joint.sum())
    assert error < 0.25 * size


def test_it_goes_beside_another_policy() -> None:
    policy, other = load_tiny("sums"), load_tiny("sums")
    with torch.no_grad():
        other.model.get_input_embeddings().weight.mul_(1.1)
    task = load_task({"kind": "sums", "operations": [2, 2]})
    rollouts = policy.sample(task.problems("validation", 2, 0), max_tokens=20)
    found = Helper(policy, HelperConfig(), 0).velocities(rollouts, ["3", "4"], other)
    assert max(abs(v.h_T).max() for v in found) < 1e-4  # log q - log p of the other, not of its own


def test_options_of_a_copy_are_refused() -> None:
    with pytest.raises(ValueError, match="lora is an option of kind copy"):
        HelperConfig(lora={"r": 4})


def test_a_checkpoint_of_the_other_kind_is_refused(tmp_path) -> None:
    policy = load_tiny("sums")
    Helper(policy, HelperConfig(), 0).save(tmp_path)
    Helper(policy, HelperConfig(checkpoint=str(tmp_path)), 0)
    with pytest.raises(UserError, match=r"was trained with helper\.kind 'side'"):
        Helper(policy, HelperConfig(kind="copy", checkpoint=str(tmp_path)), 0)


def test_an_answer_longer_than_the_context_is_said_by_a_copy_and_read_by_a_side_network() -> None:
    policy, task = load_tiny("sums"), load_task({"kind": "sums", "operations": [1, 1]})
    rollouts = policy.sample(task.problems("validation", 1, 0), max_tokens=12)
    long = "9 " * 600
    with pytest.raises(
        UserError, match=r"problem sums-.*: with the answer in front it takes 6\d\d"
    ):
        Helper(policy, HelperConfig(kind="copy"), 0).velocities(rollouts, [long])
    (found,) = Helper(policy, HelperConfig(), 0).velocities(rollouts, [long])
    assert abs(found.h_T).max() < 1e-4


def test_what_is_learned_by_heart_is_not_kept() -> None:
    """At such a learning rate six chains ruin the helper; what is kept is never below the start."""
    policy, task = load_tiny("sums"), load_task({"kind": "sums", "operations": [2, 2]})
    rollouts = policy.sample(task.problems("train", 6, 0), n=2, max_tokens=24)
    rows, kept = rollouts[:6], rollouts[6:]
    ruined = Helper(policy, HelperConfig(learning_rate=0.05, batch_size=4), 0)
    ruined.fit([ruined.row(r) for r in rows], 12)
    assert ruined.gain(kept) < -0.01
    helper = Helper(policy, HelperConfig(learning_rate=0.05, batch_size=4, checks=2), 0)
    helper.fit_and_stop([helper.row(r) for r in rows], kept, 12)
    assert helper.gain(kept) > -1e-6


def test_what_it_costs_is_counted_with_the_policy() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    policy, task = load_tiny("sums"), load_task({"kind": "sums", "operations": [2, 2]})
    policy.model.set_attn_implementation("eager")
    rollouts = policy.sample(task.problems("validation", 2, 0), max_tokens=20)
    helper = Helper(policy, HelperConfig(), 0)
    helper.velocities(rollouts, ["3", "4"])  # without a meter nothing is told
    meter = CostMeter(policy.model)
    with FlopCounterMode(display=False) as counter:
        helper.velocities(rollouts, ["3", "4"])
    # Attention of the side network is counted by the meter alone.
    assert meter.flops == pytest.approx(counter.get_total_flops(), rel=0.05)
    side = sum(p.numel() for p in helper.reader.model.parameters())
    assert side > 0.1 * sum(p.numel() for p in policy.model.parameters())  # so it would be missed
