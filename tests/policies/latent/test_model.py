"""The latent computation against finite differences, the uncached one, and plain training."""

import pytest
import torch
from torch.nn.functional import pad

from apportion import UserError
from apportion.policies.latent.batch import LatentBatch, pad_batch, pad_questions
from apportion.policies.latent.cache import cache_of
from apportion.policies.latent.generate import answer_tokens
from apportion.policies.latent.gradient import Bptt

from .small import (
    ANSWERS,
    CELLS,
    QUESTIONS,
    STEPS,
    batch,
    gpt2,
    gradients,
    latent,
    llama,
    slow_logits,
    slow_loss,
)


@pytest.mark.parametrize("cell", CELLS, ids=str)
@pytest.mark.parametrize("options", [{}, {"norm": "embedding"}, {"window": 1}], ids=str)
def test_gradients_equal_finite_differences(cell, options):
    model, data = latent(cell, **options), batch()
    found = gradients(model, model(data).loss)
    torch.manual_seed(2)
    for name, parameter in model.named_parameters():
        direction = torch.randn_like(parameter)
        # With tied weights or unused ones there is no gradient of that name.
        expected = (found[name] * direction).sum() if name in found else 0.0
        with torch.no_grad():
            start, step = parameter.clone(), 1e-6
            parameter.copy_(start + step * direction)
            above = model(data).loss
            parameter.copy_(start - step * direction)
            below = model(data).loss
            parameter.copy_(start)
        assert (above - below).item() / (2 * step) == pytest.approx(
            float(expected), rel=1e-5, abs=1e-8
        ), name


def test_every_latent_step_is_on_the_graph():
    model = latent("mlp", steps=5)
    thought = model.think(batch(5).questions)
    # With a window of everything the first state still moves the last one.
    assert all(thought.states_BKD[:, t].requires_grad for t in range(5))
    output = model(batch(5))
    output.loss.backward()
    assert len(output.gradients.norms()) == 5 and min(output.gradients.norms()) > 0


@pytest.mark.parametrize("network", [llama, gpt2], ids=["llama", "gpt2"])
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_cached_equals_uncached_forward_and_backward_with_padding(network, cell):
    model = latent(cell, network())
    output, expected = model(batch()), slow_loss(model)
    assert output.loss.item() == pytest.approx(expected.item(), rel=1e-12)
    fast, slow = gradients(model, output.loss), gradients(model, expected)
    assert fast.keys() == slow.keys()
    for name, gradient in fast.items():
        torch.testing.assert_close(gradient, slow[name], rtol=1e-9, atol=1e-13, msg=name)
    for row, (q, a, k) in enumerate(zip(QUESTIONS, ANSWERS, STEPS, strict=True)):
        expected_AV = slow_logits(model, q, a, k)
        torch.testing.assert_close(
            output.logits_BAV[row, : len(a)], expected_AV, rtol=0, atol=1e-12
        )


def test_cached_equals_uncached_with_norm_control_and_eager_attention():
    model = latent("mlp", gpt2(attn_implementation="eager"), norm="embedding")
    assert model(batch()).loss.item() == pytest.approx(slow_loss(model).item(), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_latent_steps_is_supervised_training_to_the_bit(dtype):
    question, answer = [[1, 2, 3, 4], [5, 6, 7, 8]], [[9, 10, 11], [12, 13, 14]]
    model = latent("lstm", gpt2().to(dtype), steps=0)
    ids = torch.tensor([q + a for q, a in zip(question, answer, strict=True)])
    labels = ids.clone()
    labels[:, :4] = -100
    network = model.network
    network.float() if dtype == torch.float32 else None
    output = model(pad_batch(question, answer, 0, pad_id=0))
    ours = gradients(model, output.loss)
    if dtype == torch.float32:
        expected = network(input_ids=ids, labels=labels).loss
    else:  # transformers' own loss rounds to float32
        logits = network(input_ids=ids).logits.flatten(0, 1)
        shifted = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=-100)
        expected = torch.nn.functional.cross_entropy(logits, shifted.flatten())
    theirs = gradients(model, expected)
    assert torch.equal(output.loss, expected)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_no_latent_steps_with_padding_and_beside_rows_that_have_some():
    model = latent("mlp")
    alone = model(batch([0, 0, 0]))
    assert alone.loss.item() == pytest.approx(slow_loss(model, steps=[0, 0, 0]).item(), rel=1e-12)
    beside = model(batch([2, 0, 0]))
    torch.testing.assert_close(
        alone.logits_BAV[1:], beside.logits_BAV[1:], rtol=0, atol=1e-12, msg="rows mix"
    )


def greedy(model, questions, tokens=6):
    with torch.no_grad():
        steps = [*answer_tokens(model, questions, max_tokens=tokens)]
    return torch.stack([t for t, _ in steps], 1), torch.stack([s for _, s in steps], 1)


def read_one_by_one(model, questions, ids_BA):
    """Logits of each token of the answers, with a mask over all that came before it."""
    found = []
    with torch.no_grad():
        thought = model.think(questions)
        cache, hidden_BD = cache_of(thought.past), thought.hidden_BD
        for index, ids_B in enumerate(ids_BA.unbind(1)):
            found.append(model.decoder.logits(hidden_BD))
            mask_BL = pad(thought.visible_BL, (0, index + 1), value=1)
            positions_B1 = (thought.position_B + index)[:, None]
            embeds_B1E = model.decoder.embed(ids_B[:, None])
            hidden_BD = model.decoder.run(embeds_B1E, mask_BL, positions_B1, cache)[:, 0]
    return torch.stack(found, 1)


@pytest.mark.parametrize("network", [llama, gpt2], ids=["llama", "gpt2"])
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_generation_equals_teacher_forcing(network, cell):
    """Zero where the answer is read position by position, as it was written. Read as a whole, a
    product of several rows is summed in another order than one of a single row, so there the
    logits are equal to the rounding of float64."""
    model = latent(cell, network())
    questions = pad_questions(QUESTIONS, STEPS, pad_id=0)
    ids_BA, logits_BAV = greedy(model, questions)
    ones = torch.ones_like(ids_BA)
    with torch.no_grad():
        forced = model(LatentBatch(questions, ids_BA, ones, ids_BA))
    assert torch.equal(read_one_by_one(model, questions, ids_BA), logits_BAV)
    # A wrong cache is off by more than 0.01.
    torch.testing.assert_close(forced.logits_BAV, logits_BAV, rtol=0, atol=1e-12)
    assert torch.equal(forced.logits_BAV.argmax(-1), ids_BA)


def test_generation_does_not_depend_on_the_batch():
    model = latent("hrpo")
    together, _ = greedy(model, pad_questions(QUESTIONS, STEPS, pad_id=0))
    for row, (question, steps) in enumerate(zip(QUESTIONS, STEPS, strict=True)):
        alone, _ = greedy(model, pad_questions([question], steps, pad_id=0))
        assert torch.equal(alone[0], together[row])


def test_generation_stops_when_all_rows_have():
    model = latent("identity")
    ids, _ = greedy(model, pad_questions(QUESTIONS, STEPS, pad_id=0))
    stops = set(ids[:, 1].tolist())
    with torch.no_grad():
        again = [
            t.tolist()
            for t, _ in answer_tokens(
                model, pad_questions(QUESTIONS, STEPS, pad_id=0), max_tokens=6, stop_ids=stops
            )
        ]
    assert len(again) == 2


def test_a_window_of_one_leaves_only_what_the_latent_carries():
    model = latent("mlp", window=1)
    question = [1, 2, 3, 4]
    thought = model.think(pad_questions([question], 3, pad_id=0))
    base, embeds = model.network.base_model, model.decoder.embed(torch.tensor([question]))
    hidden = base(inputs_embeds=embeds).last_hidden_state[:, -1]
    for step in range(3):  # each step alone, at its own position, with nothing before it
        latent_BE, _ = model.cell(hidden, hidden)
        hidden = base(
            inputs_embeds=latent_BE[:, None], position_ids=torch.tensor([[4 + step]])
        ).last_hidden_state[:, 0]
        torch.testing.assert_close(thought.states_BKD[:, step], hidden, rtol=0, atol=1e-12)
    assert thought.visible_BL.tolist() == [[0, 0, 0, 0, 0, 0, 1]]


def test_a_window_over_everything_is_no_window():
    whole, wide = latent("mlp")(batch()), latent("mlp", window=50)(batch())
    torch.testing.assert_close(whole.logits_BAV, wide.logits_BAV, rtol=0, atol=1e-12)


def test_norm_control_sets_the_norm_of_each_latent():
    model = latent("identity", norm="embedding")
    norms = []
    run = model.decoder.run
    model.decoder.run = lambda embeds, *rest, **options: (
        norms.append(embeds.norm(dim=-1)) or run(embeds, *rest, **options)
    )
    model.think(batch([3, 3, 3]).questions)
    expected = model.decoder.embeddings().norm(dim=-1).mean()
    for norm in norms[1:]:
        torch.testing.assert_close(norm, expected.expand_as(norm))


def test_too_many_latent_steps_for_the_context():
    with pytest.raises(UserError, match="take 65 positions, the model has 64"):
        latent().think(pad_questions([[1, 2, 3]], 62, pad_id=0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pad_questions([[1], []], 1, 0), "without a token"),
        (lambda: pad_questions([[1], [2]], [1], 0), "1 numbers of latent steps for 2 questions"),
        (lambda: pad_questions([[1]], -1, 0), "0 or more, not -1"),
        (lambda: pad_batch([[1]], [[]], 1, 0), "leaves nothing to learn"),
    ],
)
def test_bad_batches(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_truncation_at_all_steps_is_none():
    model, data = latent("mlp"), batch()
    whole = gradients(model, model(data).loss)
    cut = gradients(model, model(data, Bptt(truncate=3)).loss)
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
