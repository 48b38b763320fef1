"""Reasoning and reference meet where a token ends, whatever the tokenizer."""

import pytest

torch = pytest.importorskip("torch")

from apportion.credit.likelihood import load_form  # noqa: E402
from apportion.errors import UserError  # noqa: E402
from apportion.policies.language_model import LanguageModelPolicy  # noqa: E402
from apportion.policies.tiny import load_tiny  # noqa: E402
from apportion.tasks import load_task  # noqa: E402
from apportion.trace import Problem  # noqa: E402
from apportion.train.likelihood.boundary import Boundary, trained_tokens  # noqa: E402
from apportion.train.likelihood.reward import LikelihoodReward  # noqa: E402

CHAINS = ["so 3 + 4 = 7\nso 7 - 2 = 5\n#### 5", "#### 12", "a####b\n#### 3\nmore", "x\n####5"]


def byte_level():
    """Merges across blanks and line breaks, so that tokens straddle the marker."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<pad>", "<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CHAINS * 20, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>", pad_token="<pad>", padding_side="left"
    )


@pytest.fixture(scope="module", params=["sums", "words", "byte-level"])
def policy(request):
    tiny = load_tiny("sums" if request.param != "words" else "shipped")
    if request.param == "byte-level":
        return LanguageModelPolicy(tiny.model, byte_level(), "bytes")
    return tiny


def ids_of(policy, text):
    return [
        *policy.tokenizer(text, add_special_tokens=False)["input_ids"],
        policy.tokenizer.eos_token_id,
    ]


@pytest.mark.parametrize("chain", CHAINS)
def test_what_is_scored_spells_the_reasoning_and_the_reference(policy, chain):
    ids = ids_of(policy, chain)
    one = Boundary(policy).splice(ids, ["42", "no more"])
    end = chain.index("####", chain.rfind("\n####") + 1) if "\n####" in chain else 0
    for reference, answer in zip(["42", "no more"], one.answers, strict=True):
        text = policy.tokenizer.decode([*one.kept, *answer], skip_special_tokens=True)
        assert text == f"{chain[:end]}#### {reference}"
        assert answer[-1] == policy.tokenizer.eos_token_id
    assert one.answered and list(one.kept) == ids[: len(one.kept)]  # sampled tokens, as sampled


def test_a_gold_solution_gets_its_own_tokens_back(policy):
    gold = "so 3 + 4 = 7\n#### 7"
    ids = ids_of(policy, gold)
    one = Boundary(policy).splice(ids, ["7"])
    assert [*one.kept, *one.answers[0]] == ids


def test_without_the_marker_the_reference_is_put_at_the_end(policy):
    ids = ids_of(policy, "so 3 + 4 = 7")
    one = Boundary(policy).splice(ids, ["7"])
    text = policy.tokenizer.decode([*one.kept, *one.answers[0]], skip_special_tokens=True)
    assert text == "so 3 + 4 = 7\n#### 7" and not one.answered
    assert trained_tokens(one, ids) == len(ids)  # the decision to stop is answered for as well


def test_a_chain_of_nothing_is_empty(policy):
    one = Boundary(policy).splice(ids_of(policy, "#### 7"), ["7"])
    assert one.empty and one.reasoning == 0


def checked(answers, max_tokens=16):
    tiny = load_tiny("sums")
    reward = LikelihoodReward(tiny, load_form("logprob"), group_size=2)
    reward.check([Problem(id="p", prompt="1 + 1\n", answers=answers)], max_tokens)


def test_a_reference_longer_than_the_context_is_refused():
    checked(("2",))
    with pytest.raises(UserError, match=r"problem p: .* exceed the context of 512"):
        checked(("2 " * 600,))


def test_an_empty_reference_is_refused():
    with pytest.raises(UserError, match="problem p: a reference answer is empty"):
        checked(("2", "  "))
    with pytest.raises(UserError, match="none of its problems has a reference"):
        checked(())


def test_missing_marker_is_worth_nothing_as_a_probability_and_finite_as_a_logarithm():
    tiny, problem = load_tiny("sums"), load_task("sums").problems("train", 1, 0)[0]
    ids = [ids_of(tiny, "so"), ids_of(tiny, "so\n#### 3")]
    for form, zero in (("verifree", True), ("logprob", False)):
        reward = LikelihoodReward(tiny, load_form(form), group_size=2)
        first, second = reward(
            prompts=[problem.prompt] * 2,
            completions=["", ""],
            completion_ids=ids,
            problem=[problem.model_dump_json()] * 2,
        )
        assert (first == 0.0) == zero and first > -1e3 and second != 0.0
