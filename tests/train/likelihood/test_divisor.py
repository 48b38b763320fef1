"""The answer term is divided by what TRL divides the policy term by, so that their ratio holds."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from apportion.credit.likelihood import load_form  # noqa: E402
from apportion.errors import UserError  # noqa: E402
from apportion.train.likelihood.reward import LikelihoodReward  # noqa: E402
from apportion.train.likelihood.term import LikelihoodTerm, answer_loss  # noqa: E402
from tests.train.likelihood.toy import PAD, PROBLEM, toy_policy  # noqa: E402


def _trainer(loss_type: str, **more):
    return SimpleNamespace(
        loss_type=loss_type,
        processing_class=SimpleNamespace(pad_token_id=PAD),
        accelerator=SimpleNamespace(autocast=nullcontext, num_processes=1),
        current_gradient_accumulation_steps=3,
        max_completion_length=7,
        args=SimpleNamespace(steps_per_generation=3),
        **more,
    )


@pytest.fixture(scope="module")
def policy():
    return toy_policy()


def _inputs(policy):
    prompt = torch.tensor([policy.prompt_ids(PROBLEM)] * 2)
    return {
        "prompt_ids": prompt,
        "prompt_mask": torch.ones_like(prompt),
        "answer_tokens": torch.tensor([[[1, 2, 1]], [[2, 1, PAD]]]),
        "answer_sizes": torch.tensor([[[1, 2]], [[1, 1]]]),
        "answer_weights": torch.tensor([[0.5], [2.0]]),
        "num_items_in_batch": torch.tensor(11.0),
    }


def test_dr_grpo_divides_by_rows_and_longest_completion(policy) -> None:
    """TRL: sum / (rows x max_completion_length), then by the accumulation steps."""
    reward = LikelihoodReward(policy, load_form("logprob"), group_size=2)
    inputs = _inputs(policy)
    whole = answer_loss(policy.model, inputs, PAD)
    found = LikelihoodTerm(reward, _trainer("dr_grpo")).loss(policy.model, inputs)
    assert found.item() == pytest.approx(whole.item() / (2 * 7 * 3))


@pytest.mark.parametrize("loss_type", ["dapo", "cispo"])
def test_the_others_divide_by_the_tokens_of_the_whole_batch(policy, loss_type) -> None:
    """TRL: sum / (tokens of the generation / processes), undone for the accumulation steps that
    the generation is split over."""
    reward = LikelihoodReward(policy, load_form("logprob"), group_size=2)
    inputs = _inputs(policy)
    whole = answer_loss(policy.model, inputs, PAD)
    trainer = _trainer(loss_type)
    found = LikelihoodTerm(reward, trainer).loss(policy.model, inputs)
    assert found.item() == pytest.approx(whole.item() / 11.0)
    trainer.args.steps_per_generation = 6  # two updates on one generation
    twice = LikelihoodTerm(reward, trainer).loss(policy.model, inputs)
    assert twice.item() == pytest.approx(2 * whole.item() / 11.0)


def test_each_row_counts_by_its_weight(policy) -> None:
    inputs = _inputs(policy)
    both = answer_loss(policy.model, inputs, PAD)
    parts = []
    for b in range(2):
        weights = torch.zeros(2, 1)
        weights[b] = 1.0
        parts.append(answer_loss(policy.model, inputs | {"answer_weights": weights}, PAD).item())
    assert both.item() == pytest.approx(0.5 * parts[0] + 2.0 * parts[1])


@pytest.mark.parametrize("loss_type", ["grpo", "bnpo", "sapo", "luspo"])
def test_losses_that_divide_by_each_length_are_refused(policy, loss_type) -> None:
    reward = LikelihoodReward(policy, load_form("logprob"), group_size=2)
    with pytest.raises(UserError, match=f"loss_type {loss_type} does not go with the answer term"):
        LikelihoodTerm(reward, _trainer(loss_type))
