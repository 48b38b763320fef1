"""A latent model as a policy: sampling through the ordinary interface, saving and loading."""

import json

import pytest
import torch

from apportion import Problem, UserError
from apportion.policies import load_policy
from apportion.policies.continuation import Prefix, continue_chains
from apportion.policies.latent.folder import read_latent
from apportion.policies.latent.model import LatentModel
from apportion.policies.latent.options import CELLS, parse_cell
from apportion.policies.latent.policy import LatentPolicy
from apportion.tasks import load_task

from .small import gpt2, latent, llama

SETTINGS = {"steps": 3, "window": 5, "norm": "embedding"}


@pytest.fixture(scope="module")
def words():
    return load_task({"kind": "words", "operations": [1, 2]})


def tiny(cell="mlp", **options):
    base = load_policy("tiny")
    torch.manual_seed(0)
    model = LatentModel(base.model, parse_cell(cell), **(SETTINGS | options))
    return LatentPolicy(model, base.tokenizer, "latent")


def test_without_latent_steps_it_answers_as_the_model_it_is_made_of(words):
    problems = words.problems("validation", 5, 0)
    plain, ours = load_policy("tiny"), tiny(steps=0, window=0)
    for first, second in zip(
        plain.sample(problems, temperature=0.0, max_tokens=40),
        ours.sample(problems, temperature=0.0, max_tokens=40),
        strict=True,
    ):
        assert (first.text, first.token_ids, first.finish) == (
            second.text, second.token_ids, second.finish,
        )  # fmt: skip
        assert second.logprobs == pytest.approx(first.logprobs, abs=2e-4)


def test_samples_are_reproducible_grouped_and_leave_the_global_generator_alone(words):
    policy, problems = tiny(), words.problems("validation", 2, 0)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    once = policy.sample(problems, n=3, seed=1, max_tokens=8, reasoning_end=words.reasoning_end)
    assert torch.equal(before, torch.get_rng_state())
    assert [r.problem.id for r in once] == [p.id for p in problems for _ in range(3)]
    assert once == policy.sample(
        problems, n=3, seed=1, max_tokens=8, reasoning_end=words.reasoning_end
    )
    assert once != policy.sample(problems, n=3, seed=2, max_tokens=8)
    assert {r.meta["latent_steps"] for r in once} == {3}


def test_text_ends_where_the_model_ended_it(words):
    policy = tiny()
    for rollout in policy.sample(words.problems("validation", 6, 0), seed=5, max_tokens=30):
        assert rollout.text == policy.tokenizer.decode(rollout.token_ids, skip_special_tokens=True)
        ended = rollout.token_ids[-1] == policy.tokenizer.eos_token_id
        assert (rollout.finish == "stop") == ended
        assert policy.tokenizer.eos_token_id not in rollout.token_ids[:-1]


@pytest.mark.parametrize("cell", CELLS)
def test_saved_and_loaded_it_answers_the_same(cell, words, tmp_path):
    policy, problems = tiny(cell), words.problems("validation", 3, 0)
    policy.save(tmp_path)
    again = load_policy({"kind": "latent", "model": str(tmp_path)})
    assert isinstance(again, LatentPolicy)
    assert (again.model.steps, again.model.window, again.model.norm) == (3, 5, "embedding")
    assert again.model.options == policy.model.options
    assert again.sample(problems, seed=3, max_tokens=12) == policy.sample(
        problems, seed=3, max_tokens=12
    )


def test_the_number_of_steps_can_be_changed_when_loading(words, tmp_path):
    tiny().save(tmp_path)
    policy = load_policy({"kind": "latent", "model": str(tmp_path), "steps": 7})
    (rollout,) = policy.sample(words.problems("validation", 1, 0), max_tokens=4)
    assert rollout.meta["latent_steps"] == 7


def test_an_evaluation_works_on_it(words):
    from apportion.train.measure.evaluate import evaluate

    found = evaluate(tiny(), words, words.problems("validation", 4, 0), samples=2, ks=(1, 2))
    assert found.metrics["eval/accuracy"].n == 4 and "eval/pass@2" in found.metrics


def test_latent_steps_count_against_the_context():
    problem = Problem(id="long", prompt="pens " * 100)
    tiny(steps=2).sample([problem], max_tokens=4)
    with pytest.raises(UserError, match="problem long: prompt of"):
        tiny(steps=420).sample([problem], max_tokens=4)


def test_there_is_no_middle_to_continue_from(words):
    prefix = Prefix(words.problems("validation", 1, 0)[0], "5 + 4")
    with pytest.raises(UserError, match="reasons in vectors"):
        continue_chains(tiny(), [prefix])


def test_a_folder_without_latent_model(tmp_path):
    load_policy("tiny").model.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"no latent model in .*objective: latent"):
        load_policy({"kind": "latent", "model": str(tmp_path)})


def test_a_folder_whose_files_do_not_fit(tmp_path):
    tiny("mlp").save(tmp_path)
    settings = json.loads((tmp_path / "latent.json").read_text())
    (tmp_path / "latent.json").write_text(json.dumps(settings | {"cell": {"kind": "lstm"}}))
    with pytest.raises(UserError, match=r"cell.safetensors does not fit latent.json"):
        read_latent(tmp_path)
    (tmp_path / "latent.json").write_text("{")
    with pytest.raises(UserError, match=r"latent.json: not JSON"):
        read_latent(tmp_path)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("identiti", r"unknown cell 'identiti' \(did you mean 'identity'"),
        ({"kind": "mlp", "widht": 3}, r"unknown option 'widht' \(did you mean 'width'"),
        ({"kind": "identity", "width": 3}, "it takes no options"),
        ({"kind": "mlp", "width": 0}, "mlp: width: Input should be greater"),
        ({"kind": "hrpo", "low": 0.9, "high": 0.5}, "low 0.9 is above high 0.5"),
    ],
)
def test_bad_cells_are_one_clear_line(spec, message):
    with pytest.raises(UserError, match=message) as caught:
        parse_cell(spec)
    assert "\n" not in str(caught.value)


def test_encoder_decoder_models_are_refused():
    from transformers import T5Config, T5ForConditionalGeneration

    network = T5ForConditionalGeneration(
        T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    )
    with pytest.raises(UserError, match="T5ForConditionalGeneration: an encoder reads"):
        latent("mlp", network)


def test_models_that_look_ahead_are_refused():
    from transformers import BertConfig, BertLMHeadModel

    network = BertLMHeadModel(
        BertConfig(vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                   num_attention_heads=2)
    )  # fmt: skip
    with pytest.raises(UserError, match="latent reasoning cannot use BertLMHeadModel"):
        latent("mlp", network)


def test_models_without_a_key_value_cache_are_refused():
    from transformers import MambaConfig, MambaForCausalLM

    network = MambaForCausalLM(MambaConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1))
    with pytest.raises(UserError, match=r"MambaForCausalLM: it .* key-value cache"):
        latent("mlp", network)


def test_models_that_cap_their_logits_are_refused():
    from transformers import Gemma2Config, Gemma2ForCausalLM

    network = Gemma2ForCausalLM(
        Gemma2Config(vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                     num_attention_heads=2, num_key_value_heads=1, head_dim=4,
                     final_logit_softcapping=0.01)
    )  # fmt: skip
    with pytest.raises(UserError, match="changes its logits after the head"):
        latent("mlp", network)


def test_gradient_checkpointing_of_the_model_is_refused():
    network = gpt2()
    network.gradient_checkpointing_enable()
    with pytest.raises(UserError, match=r"latent\.recompute does the same"):
        latent("mlp", network)


@pytest.mark.parametrize("tied", [True, False])
def test_tied_and_untied_heads(tied):
    from .small import batch, slow_loss

    model = latent("soft", llama(tie_word_embeddings=tied))
    tables = model.network.get_input_embeddings(), model.network.get_output_embeddings()
    assert (tables[0].weight is tables[1].weight) == tied
    assert model(batch()).loss.item() == pytest.approx(slow_loss(model).item(), rel=1e-12)


def test_hidden_states_and_embeddings_of_different_size():
    from apportion.policies.latent.cells import build_cell

    class Sizes:
        hidden_size, embedding_size, device, dtype = 8, 6, "cpu", torch.float32

    for kind in ("identity", "lstm", "hrpo"):
        with pytest.raises(UserError, match=rf"cell {kind}: .* size 8, its embeddings 6: use"):
            build_cell(parse_cell(kind), Sizes())
    latent_BE, _ = build_cell(parse_cell("mlp"), Sizes())(torch.zeros(2, 8), torch.zeros(2, 6))
    assert latent_BE.shape == (2, 6)
