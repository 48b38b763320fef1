"""Stopping: the distribution by hand, and answers after fewer steps than were taken."""

import math

import pytest
import torch

from apportion.policies.latent.batch import pad_batch, pad_questions
from apportion.policies.latent.folder import read_latent, save_latent
from apportion.policies.latent.generate import answer_tokens, halted
from apportion.policies.latent.halting import (
    choose_steps,
    likely_stopped,
    log_geometric,
    log_stopping,
)
from apportion.policies.latent.stopping import losses_after, row_losses, stopped

from .small import ANSWERS, CELLS, QUESTIONS, batch, gpt2, latent, slow_logits


def logit(p):
    return math.log(p / (1 - p))


def test_the_distribution_by_hand():
    scores = torch.tensor([[logit(0.5), logit(0.2), logit(0.9)]])
    # 0.5; 0.5 x 0.2; the rest, whatever the last score.
    assert log_stopping(scores).exp()[0].tolist() == pytest.approx([0.5, 0.1, 0.4])
    assert log_geometric(0.5, 3).exp().tolist() == pytest.approx([4 / 7, 2 / 7, 1 / 7])


def test_one_step_is_certain():
    assert log_stopping(torch.tensor([[-3.0]])).item() == 0.0


def test_sure_heads_stay_finite_with_their_gradient():
    scores = torch.tensor([[80.0, -80.0, 0.0]], requires_grad=True)
    log_p = log_stopping(scores)
    (log_p.exp() * log_p).sum().backward()
    assert log_p.isfinite().all() and scores.grad.isfinite().all()


def test_the_median_is_chosen_or_a_sample():
    log_p = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.3, 0.6], [0.2, 0.31, 0.49]]).log()
    assert choose_steps(log_p, sample=False).tolist() == [1, 3, 2]
    torch.manual_seed(0)
    drawn = choose_steps(log_p[:1].expand(4000, 3), sample=True)
    shares = [(drawn == n).float().mean().item() for n in (1, 2, 3)]
    assert shares == pytest.approx([0.5, 0.3, 0.2], abs=0.03)


@pytest.mark.parametrize("cell", CELLS, ids=str)
@pytest.mark.parametrize("options", [{}, {"window": 1}], ids=str)
def test_stopping_sooner_is_thinking_less(cell, options):
    model, long = latent(cell, gpt2(), **options), batch([4, 4, 4])
    thought = model.think(long.questions)
    steps = [3, 1, 0]
    early = stopped(model, long.questions, thought, torch.tensor(steps))
    found = model.decoder.logits(model.answer_states(early, long))
    expected = model(batch(steps)).logits_BAV
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_losses_after_each_number_of_steps_equal_the_slow_ones():
    model, data = latent("mlp"), batch([3, 3, 3])
    losses = losses_after(model, data, model.think(data.questions), range(4))
    for row, (question, answer) in enumerate(zip(QUESTIONS, ANSWERS, strict=True)):
        for steps in range(4):
            logits = slow_logits(model, question, answer, steps)
            expected = torch.nn.functional.cross_entropy(
                logits, torch.tensor(answer), reduction="sum"
            )
            assert losses[row, steps].item() == pytest.approx(expected.item(), rel=1e-11)


def test_row_losses_leave_out_what_is_not_learned():
    logits = torch.zeros(1, 2, 4)
    assert row_losses(logits, torch.tensor([[1, -100]])).item() == pytest.approx(math.log(4))


def test_the_head_is_saved_and_read(tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    from apportion.policies.latent.model import LatentModel
    from apportion.policies.latent.options import parse_cell

    network = LlamaForCausalLM(
        LlamaConfig(vocab_size=20, hidden_size=8, intermediate_size=12, num_hidden_layers=1,
                    num_attention_heads=2)
    )  # fmt: skip
    model = LatentModel(network, parse_cell("mlp"), steps=3, halting=True)
    torch.nn.init.normal_(model.halting.read.weight)
    save_latent(model, tmp_path)
    again = read_latent(tmp_path)
    data = pad_batch(QUESTIONS, ANSWERS, 3, 0)
    states = model.think(data.questions).states_BKD
    assert torch.equal(again.halting(states), model.halting(states))


def test_generation_stops_where_the_head_does_and_takes_no_step_more():
    model = latent("mlp", gpt2(), steps=6, halting=True)
    # Stops after 3, 1 and 2 steps, whatever the states.
    scores = torch.tensor([[-2.0, -2.0, 4.0], [1.0, -9.0, -9.0], [-1.0, 0.0, 3.0]]).double()
    table = torch.nn.functional.pad(scores, (0, 3))

    class Read(torch.nn.Module):
        def forward(self, states_BKD):
            return table[:, : states_BKD.shape[1], None]

    model.halting.read = Read()
    questions = pad_questions(QUESTIONS, [6, 6, 6], pad_id=0)
    calls, forward = [], model.cell.forward
    model.cell.forward = lambda *given: calls.append(None) or forward(*given)
    with torch.no_grad():
        thought, steps = halted(model, questions)
        taken = len(calls)
        tokens = list(answer_tokens(model, questions, max_tokens=4, thought=thought))
        whole = model.think(questions)
        expected = choose_steps(model.halting(whole.states_BKD), sample=False)
    assert steps.tolist() == expected.tolist() == [3, 1, 2]
    assert taken == 3
    for row, question in enumerate(QUESTIONS):
        ids = [token[row].item() for token, _ in tokens]
        slow = slow_logits(model, question, ids, steps[row].item())
        found = torch.stack([logits[row] for _, logits in tokens])
        torch.testing.assert_close(found, slow, rtol=0, atol=1e-11)


def test_half_a_chance_to_have_stopped_is_enough():
    scores = torch.tensor([[logit(0.5), -9.0], [logit(0.3), logit(0.2)], [logit(0.3), logit(0.3)]])
    assert likely_stopped(scores).tolist() == [True, False, True]
