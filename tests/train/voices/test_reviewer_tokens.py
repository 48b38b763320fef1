"""Reviewer tokens: into the vocabulary, and out of it again."""

import json

import pytest

pytest.importorskip("torch")

import torch

from apportion import UserError
from apportion.policies import load_policy
from apportion.policies.reviewer_token import reviewer_token, token_names
from apportion.tasks import load_task
from apportion.train.voices.reviewer_tokens import add_reviewer_tokens, remove_reviewer_tokens

NAMES = ["terse", "checked"]
PROMPT = "3 + 4 - 2\n"


@pytest.fixture
def policy():
    return load_policy({"kind": "tiny", "checkpoint": "sums"})


def untied(policy):
    """The same policy with an output embedding of its own, other than the input's."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig.from_dict(policy.model.config.to_dict() | {"tie_word_embeddings": False})
    torch.manual_seed(0)
    policy.model = LlamaForCausalLM(config).eval()
    return policy


def logits(policy):
    with torch.no_grad():
        return policy.model(torch.tensor([policy.tokenizer(PROMPT)["input_ids"]])).logits


@pytest.mark.parametrize("tied", [True, False])
def test_adding_and_removing_changes_no_other_logit(policy, tied):
    policy = policy if tied else untied(policy)
    size = policy.model.config.vocab_size
    before, spelled = logits(policy), policy.tokenizer.backend_tokenizer.to_str()
    ids = add_reviewer_tokens(policy.model, policy.tokenizer, NAMES)
    assert ids == {"terse": size, "checked": size + 1}
    with_tokens = logits(policy)
    assert with_tokens.shape[-1] == size + 2
    assert torch.equal(with_tokens[..., :size], before)
    with torch.no_grad():  # what training would do to the rows of the tokens
        policy.model.get_input_embeddings().weight[size:] += 1.0
    plain = logits(policy)[..., :size]
    policy.tokenizer = remove_reviewer_tokens(policy.model, policy.tokenizer)
    assert torch.equal(logits(policy), plain) and torch.equal(plain, before)
    assert policy.model.config.vocab_size == len(policy.tokenizer) == size
    assert policy.tokenizer.backend_tokenizer.to_str() == spelled
    assert token_names(policy.tokenizer) == []


@pytest.mark.parametrize("tied", [True, False])
def test_new_embeddings_are_the_mean_of_the_others(policy, tied):
    policy = policy if tied else untied(policy)
    old_in = policy.model.get_input_embeddings().weight.detach().clone()
    old_out = policy.model.get_output_embeddings().weight.detach().clone()
    ids = add_reviewer_tokens(policy.model, policy.tokenizer, NAMES)
    new_in = policy.model.get_input_embeddings().weight
    new_out = policy.model.get_output_embeddings().weight
    for row in ids.values():
        torch.testing.assert_close(new_in[row], old_in.mean(0))
        torch.testing.assert_close(new_out[row], old_out.mean(0))
    assert (new_in is new_out) == tied


def test_rows_to_spare_are_used_first(policy):
    """Some models pad their embedding beyond the vocabulary."""
    size = len(policy.tokenizer)
    policy.model.resize_token_embeddings(size + 8, mean_resizing=False)
    ids = add_reviewer_tokens(policy.model, policy.tokenizer, NAMES)
    assert ids == {"terse": size, "checked": size + 1}
    assert policy.model.config.vocab_size == size + 8
    remove_reviewer_tokens(policy.model, policy.tokenizer)
    assert policy.model.config.vocab_size == size + 8


def test_the_token_stands_before_the_prompt_and_is_never_written(policy):
    ids = add_reviewer_tokens(policy.model, policy.tokenizer, NAMES)
    problem = load_task("sums").problems("train", 1, 0)[0]
    bare = policy.prompt_ids(problem)
    policy.reviewer_tokens = ["checked"]
    assert policy.prompt_ids(problem) == [ids["checked"], *bare]
    assert policy.prompt_for(problem) == "<|reviewer:checked|>" + problem.prompt
    policy.chat = True
    assert policy.prompt_for(problem) == [
        {"role": "system", "content": "<|reviewer:checked|>"},
        {"role": "user", "content": problem.prompt},
    ]
    policy.chat = False
    with torch.no_grad():  # make the token the likeliest by far
        policy.model.get_output_embeddings().weight[ids["terse"]] *= 100
    sampled = policy.sample([problem], n=8, max_tokens=10)
    assert not any(set(ids.values()) & set(r.token_ids) for r in sampled)
    assert policy.decode([ids["terse"], *policy.tokenizer("so")["input_ids"]])[0] == "so"


def test_tokens_survive_saving_and_keep_their_meaning(policy, tmp_path):
    ids = add_reviewer_tokens(policy.model, policy.tokenizer, NAMES)
    policy.model.save_pretrained(tmp_path)
    policy.tokenizer.save_pretrained(tmp_path)
    again = load_policy({"kind": "tiny", "checkpoint": str(tmp_path), "reviewer_token": "checked"})
    assert again.reviewer_tokens == ("checked",)
    assert add_reviewer_tokens(again.model, again.tokenizer, ["checked"]) == {
        "checked": ids["checked"]
    }
    assert json.loads((tmp_path / "generation_config.json").read_text())["suppress_tokens"] == list(
        ids.values()
    )
    restored = remove_reviewer_tokens(again.model, again.tokenizer)
    assert len(restored) == len(policy.tokenizer) - 2
    assert again.model.generation_config.suppress_tokens is None


def test_a_token_that_means_something_else_is_refused(policy):
    policy.tokenizer.add_tokens(["<|reviewer:terse|>"])
    with pytest.raises(UserError, match=r"'<\|reviewer:terse\|>' is in the vocabulary already"):
        add_reviewer_tokens(policy.model, policy.tokenizer, NAMES)
    assert "<|reviewer:checked|>" not in policy.tokenizer.get_vocab()


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["none"], "'none' is reserved"),
        (["a b"], "'a b' cannot be a token's name"),
        (["x|>"], "cannot be a token's name"),
        (["twin", "twin"], "'twin' occurs twice"),
    ],
)
def test_names_that_are_refused(policy, names, complaint):
    with pytest.raises(UserError, match=complaint):
        add_reviewer_tokens(policy.model, policy.tokenizer, names)


def test_what_cannot_be_done_is_said(policy):
    from peft import LoraConfig, get_peft_model

    with pytest.raises(UserError, match="none that could be removed"):
        remove_reviewer_tokens(policy.model, policy.tokenizer)
    with pytest.raises(UserError, match="knows no token of 'terse'; it has none"):
        policy.reviewer_tokens = ["terse"]
    with pytest.raises(UserError, match="has no vocabulary"):
        load_policy({"kind": "scripted", "completions": [], "reviewer_token": "terse"})
    wrapped = get_peft_model(policy.model, LoraConfig(task_type="CAUSAL_LM", r=2))
    with pytest.raises(UserError, match="merge the policy's LoRA adapter first"):
        add_reviewer_tokens(wrapped, policy.tokenizer, NAMES)
    assert reviewer_token("a.b-c_1") == "<|reviewer:a.b-c_1|>"
