"""The flow by hand, its gradients by finite differences, and its folder."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from apportion import UserError
from apportion.policies import load_policy
from apportion.policies.flow.model import FlowModel
from apportion.policies.flow.policy import FlowPolicy
from apportion.policies.latent.batch import pad_batch
from apportion.policies.tiny import load_tiny
from apportion.tasks import load_task
from apportion.train.latent.flow_learner import losses, steepest

_PAD = 0


def _network():
    """GPT-2, whose norms stay in float64 where those of Llama go through float32."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(1)
    config = GPT2Config(
        vocab_size=11, n_positions=32, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    )
    return GPT2LMHeadModel(config).double().eval()


def _model(steps: int = 3, width: int = 2) -> FlowModel:
    """In float64, with a field that is not zero any more."""
    model = FlowModel(_network(), steps=steps, width=width, heads=2, hidden=12)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def _batch():
    return pad_batch([[3, 4, 5], [6, 7]], [[8, 1], [9, 2, 1]], 0, _PAD)


def _settings(**changes: object) -> SimpleNamespace:
    return SimpleNamespace(**({"learning": "through", "reach": 2.0, "start_weight": 0.5} | changes))


def test_an_untrained_thought_stands_still() -> None:
    model = FlowModel(_network(), steps=4, width=2, heads=2, hidden=12)
    path = model.flow(_batch().questions)
    assert all(torch.equal(path.z[0], z) for z in path.z) and len(path.z) == 5


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_constant_velocity_goes_as_far_in_any_number_of_steps(steps: int, monkeypatch) -> None:
    model = _model(steps)
    times: list[float] = []

    def constant(z, time, x, mask):
        times.append(time)
        return torch.full_like(z, 1.5)

    monkeypatch.setattr(model.field, "forward", constant)
    path = model.flow(_batch().questions)
    torch.testing.assert_close(path.z[-1], path.z[0] + 1.5)
    assert times == pytest.approx([i / steps for i in range(steps)])


def test_without_steps_it_is_the_decoder_alone() -> None:
    model, batch = _model(0), _batch()
    z = model.flow(batch.questions).z
    assert len(z) == 1
    embeds = torch.cat([z[0], model.network.get_input_embeddings()(batch.ids_BA[:, :-1])], 1)
    logits = model.network(inputs_embeds=embeds).logits[:, 1:]
    torch.testing.assert_close(model.answer_logits(z[0], batch), logits)


def test_padding_changes_nothing() -> None:
    model = _model()
    together = model.answer_logps(model.flow(_batch().questions).z[-1], _batch())
    for row, (question, answer) in enumerate([([3, 4, 5], [8, 1]), ([6, 7], [9, 2, 1])]):
        alone = pad_batch([question], [answer], 0, _PAD)
        logp = model.answer_logps(model.flow(alone.questions).z[-1], alone)
        torch.testing.assert_close(logp[0], together[row])


@pytest.mark.parametrize(
    "name",
    ["field.outer.weight", "field.asks.weight", "field.time.bias", "start.weight", "slots_MD"],
)
def test_the_gradient_through_all_steps_is_that_of_finite_differences(name: str) -> None:
    model, batch = _model(), _batch()
    parameter = dict(model.named_parameters())[name]
    loss, _ = losses(model, batch, _settings())
    (gradient,) = torch.autograd.grad(loss, parameter)
    assert gradient.abs().max() > 1e-6
    flat, small = parameter.data.view(-1), 1e-5
    for i in gradient.flatten().abs().topk(3).indices.tolist():
        ends = []
        for sign in (1, -1):
            flat[i] += sign * small
            ends.append(losses(model, batch, _settings())[0].item())
            flat[i] -= sign * small
        assert gradient.flatten()[i].item() == pytest.approx(
            (ends[0] - ends[1]) / (2 * small), rel=1e-4
        )


def test_the_steepest_way_is_that_of_finite_differences() -> None:
    model, batch = _model(), _batch()
    z = model.flow(batch.questions).z[0].detach()
    slopes = torch.zeros_like(z)
    for i in range(z.numel()):
        step = torch.zeros(z.numel(), dtype=z.dtype)
        step[i] = 1e-5
        ends = [model.answer_logps(z + s * step.view_as(z), batch).sum() for s in (1, -1)]
        slopes.view(-1)[i] = (ends[0] - ends[1]).item() / 2e-5
    norms = slopes.flatten(1).norm(dim=1).clamp_min(1.0)
    torch.testing.assert_close(
        steepest(model, batch, z), slopes / norms[:, None, None], rtol=1e-4, atol=1e-7
    )


def test_regression_teaches_the_field_the_gradient_and_nothing_else() -> None:
    model, batch = _model(), _batch()
    loss, figures = losses(model, batch, _settings(learning="regression", start_weight=0.0))
    field = list(model.field.parameters())
    whole = torch.autograd.grad(loss, field, retain_graph=True)
    path = model.flow(batch.questions, detach=True)
    error = sum(
        (v - 2.0 * steepest(model, batch, z)).square().sum((1, 2)).mean()
        for z, v in zip(path.z, path.v, strict=False)
    )
    alone = torch.autograd.grad(error / 3, field)
    for one, other in zip(whole, alone, strict=True):
        torch.testing.assert_close(one, other)
    (of_start,) = torch.autograd.grad(loss, model.start.weight)
    assert of_start.abs().max() > 0  # what is learned from the end reaches the start
    assert -1 <= figures["flow/alignment"] <= 1


def test_a_small_step_along_the_steepest_way_makes_the_answer_likelier() -> None:
    model, batch = _model(), _batch()
    z = model.flow(batch.questions).z[0].detach()
    before = model.answer_logps(z, batch)
    after = model.answer_logps(z + 1e-3 * steepest(model, batch, z), batch)
    assert (after > before).all()


def test_what_is_sampled_has_the_log_probabilities_of_the_answer_read_as_a_whole(tmp_path) -> None:
    tiny, task = load_tiny("sums"), load_task({"kind": "sums", "operations": [1, 2]})
    torch.manual_seed(0)
    model = FlowModel(tiny.model, steps=2, width=2, heads=4, hidden=16)
    torch.nn.init.normal_(model.field.outer.weight, std=0.1)
    policy = FlowPolicy(model, tiny.tokenizer, "flow")
    problems = task.problems("validation", 3, 0)
    rollouts = policy.sample(problems, temperature=1.0, max_tokens=5, seed=1)
    questions = [policy.prompt_ids(p) for p in problems]
    logps = policy.logps_along(questions, [list(r.token_ids) for r in rollouts])
    assert logps.shape == (3, 3)
    said = torch.tensor([sum(r.logprobs or ()) for r in rollouts], dtype=torch.float64)
    torch.testing.assert_close(logps[:, -1], said, rtol=1e-4, atol=1e-4)

    policy.save(tmp_path)
    again = load_policy({"kind": "flow", "model": str(tmp_path)})
    assert again.sample(problems, temperature=1.0, max_tokens=5, seed=1) == rollouts
    other = load_policy({"kind": "flow", "model": str(tmp_path), "steps": 5})
    assert other.model.steps == 5  # type: ignore[attr-defined]
    (tmp_path / "flow.json").write_text('{"steps": 2, "width": 3, "heads": 4, "hidden": 16}')
    with pytest.raises(UserError, match=r"flow\.safetensors does not fit flow\.json"):
        load_policy({"kind": "flow", "model": str(tmp_path)})


def test_what_does_not_fit_is_said(tmp_path) -> None:
    with pytest.raises(UserError, match=r"flow\.heads 3 does not divide the embedding size 8"):
        FlowModel(_network(), steps=1, heads=3)
    with pytest.raises(UserError, match="no flow model in"):
        load_policy({"kind": "flow", "model": str(tmp_path)})
    policy = FlowPolicy(_long(), load_tiny("sums").tokenizer, "flow")
    problem = load_task({"kind": "sums"}).problems("train", 1, 0)[0]
    with pytest.raises(UserError, match="a thought of 2 and 600 new tokens, exceed"):
        policy.check_context([problem], 600)


def _long() -> FlowModel:
    return FlowModel(load_tiny("sums").model, steps=1, width=2)
