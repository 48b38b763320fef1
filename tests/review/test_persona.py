"""A second voice of the policy: what it is asked, what it answers, and that it leaves no trace."""

import asyncio
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion import UserError
from apportion.review import load_reviewer
from apportion.review.binding import bind_policy
from apportion.review.persona import SETTINGS_FILE, verdicts_of
from apportion.review.persona_format import (
    Judgement,
    answer_ids,
    next_ids,
    question_ids,
    read_judgement,
    words_of,
    write_judgement,
)
from tests.review.helpers import ask, item, problem

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def policy():
    from apportion.policies.tiny import load_tiny

    return load_tiny("sums")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """An adapter for the sums policy whose matrices are noise, the embeddings of some tokens too:
    strong enough to change what is written."""
    from peft import LoraConfig, get_peft_model

    from apportion.policies.tiny import load_tiny

    torch.manual_seed(0)
    persona = get_peft_model(
        load_tiny("sums").model,
        LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear",
                   trainable_token_indices=[5, 6]),
    )  # fmt: skip
    with torch.no_grad():
        for name, parameter in persona.named_parameters():
            if "lora_B" in name or "trainable_tokens" in name:
                parameter += torch.randn_like(parameter)
    folder = tmp_path_factory.mktemp("adapter")
    persona.save_pretrained(folder)
    (folder / SETTINGS_FILE).write_text(json.dumps({"trigger": "\n?\n"}))
    return folder


# -- the words ---------------------------------------------------------------------------------


@given(st.lists(st.booleans(), max_size=12), st.booleans())
def test_judgements_survive_writing(wrong, shortcut):
    judgement = Judgement(tuple(wrong), shortcut)
    assert read_judgement(write_judgement(judgement), len(wrong)) == judgement


def test_the_form_of_a_judgement():
    assert write_judgement(Judgement((False, True), True)) == "1 ok\n2 wrong\nshortcut yes"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "1 lines where 2 steps"),
        ("1 ok\nshortcut no", "2 lines where 2 steps"),
        ("1 ok\n3 ok\nshortcut no", "line 2 is '3 ok'"),
        ("1 ok\n2 fine\nshortcut no", "line 2 is '2 fine'"),
        ("1 ok\n2 ok\nshortcut perhaps", "the last line is 'shortcut perhaps'"),
    ],
)
def test_what_is_no_judgement(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        read_judgement(text, 2)


@pytest.mark.parametrize("steps", [1, 3, 11])
def test_whatever_is_allowed_ends_as_a_judgement(policy, steps):
    rng = random.Random(steps)
    read = set()
    for _ in range(12):
        written = []
        while policy.tokenizer.eos_token_id not in written:
            written.append(rng.choice(next_ids(policy, written, steps)))
        read.add(read_judgement(policy.decode(written)[0], steps))
    assert len(read) > 1


def test_what_is_no_judgement_may_only_end(policy):
    astray = policy.tokenizer("3", add_special_tokens=False)["input_ids"]
    assert next_ids(policy, astray, 2) == [policy.tokenizer.eos_token_id]


def test_verdicts():
    honest = verdicts_of(Judgement((False, True), False))
    assert [(v.label, v.correct) for v in honest] == [(None, True), ("harmful", False)]
    shortcut = verdicts_of(Judgement((False, True), True))
    assert [(v.label, v.correct) for v in shortcut] == [("irrelevant", True), ("harmful", False)]


def test_what_is_asked(policy):
    text = policy.decode(question_ids(policy, problem(), "3 * 4 = 12\n#### 12", "\nreview\n"))[0]
    assert text == problem().prompt + "3 * 4 = 12\n#### 12\nreview\n"
    asked = set(words_of(policy, "\nreview\n", 12))
    for judgement in (Judgement((True,) * 12, False), Judgement((False,) * 7, True)):
        assert set(answer_ids(policy, judgement)) <= asked


# -- the adapter -------------------------------------------------------------------------------


def state_of(policy):
    return (
        [(name, id(p), p.requires_grad, p.detach().clone())
         for name, p in policy.model.named_parameters()],
        logits(policy),
        hasattr(policy.model, "peft_config"),
    )  # fmt: skip


def logits(policy):
    with torch.no_grad():
        return policy.model(torch.arange(2, 30)[None]).logits


def assert_untouched(before, policy):
    parameters, out, wrapped = state_of(policy)
    assert [p[:3] for p in parameters] == [p[:3] for p in before[0]]
    assert all(torch.equal(new[3], old[3]) for new, old in zip(parameters, before[0], strict=True))
    assert torch.equal(out, before[1]) and wrapped == before[2]


def test_the_weights_are_the_same_to_the_bit_with_the_adapter_off(policy, adapter):
    from apportion.policies.adapter import adapter_on

    policy.model.model.layers[0].mlp.up_proj.weight.requires_grad_(False)  # keeps its flag
    before = state_of(policy)
    with adapter_on(policy.model, adapter):
        assert not torch.equal(logits(policy), before[1])
        assert not any(p.requires_grad for p in policy.model.parameters())
    assert_untouched(before, policy)
    with pytest.raises(KeyboardInterrupt), adapter_on(policy.model, adapter):
        raise KeyboardInterrupt
    assert_untouched(before, policy)


def test_a_policy_trained_by_lora_keeps_its_own_adapter(policy, adapter):
    from peft import LoraConfig, get_peft_model

    from apportion.policies.adapter import adapter_on

    policy.model = get_peft_model(
        policy.model, LoraConfig(task_type="CAUSAL_LM", r=2, init_lora_weights=False)
    )
    before = state_of(policy)
    with adapter_on(policy.model, adapter):
        assert policy.model.base_model.active_adapters == ["default", "persona"]
        assert not torch.equal(logits(policy), before[1])
    assert_untouched(before, policy)
    assert list(policy.model.peft_config) == ["default"]


def test_reviewing_leaves_the_policy_as_it_was(policy, adapter):
    before = state_of(policy)
    reviewer = load_reviewer({"kind": "persona", "adapter": str(adapter)})
    assert reviewer.trigger == "\n?\n"
    bind_policy([reviewer], policy)
    (review,) = ask(reviewer)
    # What noise says is worth nothing (the gate measures that), but it is said in form.
    assert review.ok and len(review.verdicts) == len(review.steps)
    assert review.usage.calls == 1
    assert_untouched(before, policy)


def test_a_readable_answer_becomes_verdicts(policy, adapter, monkeypatch):
    asked = []

    def generate_ids(prompts, temperature, max_tokens, allowed):
        asked.append(len(prompts))
        return [answer_ids(policy, Judgement((False, True, False), True)) for _ in prompts]

    reviewer = load_reviewer({"kind": "persona", "adapter": str(adapter), "trigger": "!"})
    bind_policy([reviewer], policy)
    monkeypatch.setattr(policy, "generate_ids", generate_ids)
    reviews = ask(reviewer, item(), item(rollout_id="r2"))
    assert [v.wrong for v in reviews[0].verdicts] == [False, True, False]
    assert reviews[0].meta == {"policy": "tiny", "shortcut": True}
    assert asked == [2]


def test_what_is_missing_is_said(policy, adapter, tmp_path):
    with pytest.raises(UserError, match=r"no adapter in .*nowhere"):
        load_reviewer({"kind": "persona", "adapter": str(tmp_path / "nowhere")})
    with pytest.raises(UserError, match="option 'adapter' is required"):
        load_reviewer("persona")
    reviewer = load_reviewer({"kind": "persona", "adapter": str(adapter)})
    with pytest.raises(UserError, match="persona judges with the policy's own weights"):
        asyncio.run(reviewer.review(problem(), "x", item().steps, None))


def test_an_adapter_of_another_policy_is_refused_and_taken_out_again(adapter):
    from apportion.policies.tiny import load_tiny

    words = load_tiny("shipped")
    before = state_of(words)
    reviewer = load_reviewer({"kind": "persona", "adapter": str(adapter)})
    with pytest.raises(UserError, match="does not fit the policy"):
        bind_policy([reviewer], words)
    assert_untouched(before, words)


def test_broken_settings_are_named(adapter, tmp_path):
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(adapter, broken)
    (broken / SETTINGS_FILE).write_text("{}")
    with pytest.raises(UserError, match="no trigger can be read"):
        load_reviewer({"kind": "persona", "adapter": str(broken)})
