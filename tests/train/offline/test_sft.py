"""Weighted supervised training: the loss by hand, TRL's own to the bit, and the rows."""

import pytest
import torch

from apportion import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.policies.tiny import build_model
from apportion.trace import Edit, EditSpan, Problem, Rollout
from apportion.train.offline.chain_rows import IGNORED, ChainRow, edit_row, sampled_row, weighted
from tests.train.tiny_setup import largest_difference, make_tokenizer, weights

ROWS = [
    {"input_ids": [5, 9, 12, 7], "labels": [-100, 9, 12, 7], "loss_weights": [0, 0.5, 2.0, 1.0]},
    {"input_ids": [8, 6, 4], "labels": [-100, -100, 4], "loss_weights": [0, 0, 3.0]},
]


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.fixture
def policy(tokenizer):
    return LanguageModelPolicy(
        build_model(tokenizer, hidden_size=32, layers=2, heads=2), tokenizer, "t"
    )


def make(cls, policy, out, rows, **extra):
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import SFTConfig

    settings = {
        "output_dir": str(out),
        "max_steps": 3,
        "per_device_train_batch_size": 2,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "constant",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": [],
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_steps": 1,
        "seed": 1,
    }
    trainer = cls(
        model=policy.model,
        processing_class=policy.tokenizer,
        args=SFTConfig(**(settings | extra)),
        train_dataset=Dataset.from_list(rows),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def by_hand(model, rows):
    """sum of w * -log p over the labelled tokens, one row at a time, and their number."""
    total, count = 0.0, 0
    for row in rows:
        logits = model(torch.tensor([row["input_ids"]])).logits[0].double()
        logps = torch.log_softmax(logits, -1)
        for t, (label, weight) in enumerate(zip(row["labels"], row["loss_weights"], strict=True)):
            if label != IGNORED:
                total -= weight * logps[t - 1, label].item()
                count += 1
    return total, count


def test_the_loss_is_the_weighted_sum_over_the_number_of_tokens(policy, tmp_path):
    from apportion.train.offline.sft import WeightedSFTTrainer

    trainer = make(WeightedSFTTrainer, policy, tmp_path, ROWS)
    total, count = by_hand(policy.model, ROWS)
    assert count == 4
    batch = trainer.data_collator([dict(row) for row in ROWS])
    assert batch["loss_weights"].tolist() == [[0, 0.5, 2, 1], [0, 0, 3, 0]]
    loss = trainer.compute_loss(trainer.model, dict(batch))
    assert loss.item() == pytest.approx(total / 4, rel=1e-5)
    loss = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=torch.tensor(10))
    assert loss.item() == pytest.approx(total / 10, rel=1e-5)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_weights_of_one_are_the_stock_trainer_to_the_bit(tokenizer, tmp_path, accumulate):
    from trl import SFTTrainer

    from apportion.train.offline.sft import WeightedSFTTrainer

    found = []
    for cls, drop in ((SFTTrainer, True), (WeightedSFTTrainer, False), (WeightedSFTTrainer, True)):
        model = build_model(tokenizer, hidden_size=32, layers=2, heads=2)
        rows = [{k: v for k, v in r.items() if k != "loss_weights"} for r in ROWS * 3]
        if not drop:
            rows = [r | {"loss_weights": [1.0] * len(r["input_ids"])} for r in rows]
        policy = LanguageModelPolicy(model, tokenizer, "t")
        trainer = make(cls, policy, tmp_path, rows, gradient_accumulation_steps=accumulate)
        trainer.train()
        found.append(
            (weights(trainer), [e["loss"] for e in trainer.state.log_history if "loss" in e])
        )
    (stock, losses), (ones, losses_1), (none, losses_2) = found
    assert losses == losses_1 == losses_2 and len(losses) == 3
    assert largest_difference(stock, ones) == 0.0 == largest_difference(stock, none)


def test_weights_change_what_is_learned(tokenizer, tmp_path):
    from apportion.train.offline.sft import WeightedSFTTrainer

    rows = [
        {"input_ids": [5, 9], "labels": [-100, 9], "loss_weights": [0, 1.9]},
        {"input_ids": [5, 7], "labels": [-100, 7], "loss_weights": [0, 0.1]},
    ]
    policy = LanguageModelPolicy(
        build_model(tokenizer, hidden_size=32, layers=2, heads=2), tokenizer, "t"
    )
    make(WeightedSFTTrainer, policy, tmp_path, rows, max_steps=40).train()
    p = torch.softmax(policy.model(torch.tensor([[5]])).logits[0, 0], -1)
    # Cross-entropy to the weighted targets is least at 0.95 and 0.05.
    assert p[9].item() == pytest.approx(0.95, abs=0.03)
    assert p[7].item() == pytest.approx(0.05, abs=0.03)


def test_truncated_rows_keep_their_weights_in_place(policy, tmp_path):
    from apportion.train.offline.sft import WeightedSFTTrainer

    trainer = make(WeightedSFTTrainer, policy, tmp_path, ROWS, max_length=3)
    batch = trainer.data_collator([trainer.train_dataset[0]])
    assert batch["input_ids"].tolist() == [[5, 9, 12]]
    assert batch["loss_weights"].tolist() == [[0, 0.5, 2]]


def test_packing_is_refused(policy, tmp_path):
    from apportion.train.offline.sft import WeightedSFTTrainer

    with pytest.raises(UserError, match="loss weights do not go with packing"):
        make(WeightedSFTTrainer, policy, tmp_path, ROWS, padding_free=True, max_length=None)


PROBLEM = Problem(id="p", prompt="How many?\n", answers=("12",))


def test_the_loss_on_the_edit_only_leaves_kept_text_out(policy):
    text = "é 3 * 4 = 12\nso 12\n#### 12"
    cut = text.index("so")
    edit = Edit(
        rollout_id="r",
        asked=("replace",),
        operations=("replace",),
        text=text,
        reasoning_end=text.index("####"),
        spans=(EditSpan(0, cut, "kept", (0, cut)), EditSpan(cut, len(text), "inserted")),
    )
    whole = edit_row(policy, PROBLEM, edit)
    only = edit_row(policy, PROBLEM, edit, kept=0.0)
    prompt = len(policy.prompt_ids(PROBLEM))
    assert whole.input_ids == only.input_ids
    assert whole.labels == [IGNORED] * prompt + whole.input_ids[prompt:]
    assert whole.loss_weights == [0.0] * prompt + [1.0] * (len(whole.input_ids) - prompt)
    learned = [i for i in only.labels if i != IGNORED]
    assert learned[-1] == policy.tokenizer.eos_token_id
    assert policy.tokenizer.decode(learned[:-1]) == "so 12\n#### 12"
    assert [label != IGNORED for label in only.labels] == [w > 0 for w in only.loss_weights]


def test_the_end_weighs_what_the_last_text_does(policy):
    spans = (EditSpan(0, 2, "moved", (2, 4)), EditSpan(2, 4, "kept", (4, 6)))
    edit = Edit(rollout_id="r", asked=("cut",), operations=("cut",), text="a\nb\n", reasoning_end=4,
                spans=spans)  # fmt: skip
    row = edit_row(policy, PROBLEM, edit, kept=0.25)
    assert row.loss_weights[-1] == 0.25 and 1.0 in row.loss_weights


def test_a_sampled_rollout_is_learned_by_its_own_tokens(policy):
    end = policy.tokenizer.eos_token_id
    ids = (65, 66, end)
    rollout = Rollout(id="r", problem=PROBLEM, text="ab", token_ids=ids, token_spans=((0, 1),) * 3,
                      reasoning_end=2, finish="stop")  # fmt: skip
    prompt = policy.prompt_ids(PROBLEM)
    assert sampled_row(policy, rollout).input_ids == [*prompt, *ids]
    elsewhere = Rollout(id="r", problem=PROBLEM, text="ab", reasoning_end=2)
    assert sampled_row(policy, elsewhere).input_ids == [
        *prompt, *policy.tokenizer("ab")["input_ids"], end]  # fmt: skip
    cut_off = rollout.model_copy(update={"token_ids": ids[:2], "finish": "length"})
    assert sampled_row(policy, cut_off).input_ids == [*prompt, *ids[:2]]


def test_weights_are_scaled_to_a_mean_of_one():
    rows = [
        ChainRow([1, 2, 3], [IGNORED, 2, 3], [0.0, 1.0, 1.0]),
        ChainRow([1, 4], [IGNORED, 4], [0.0, 1.0]),
    ]
    first, second = weighted(rows, [1.0, 4.0])  # (1 + 1 + 4) / 3 = 2
    assert first.loss_weights == [0.0, 0.5, 0.5] and second.loss_weights == [0.0, 2.0]
    assert weighted(rows, [0.3, 0.3]) == rows  # equal weights are exactly 1
    (left,) = weighted(rows, [0.0, 0.7])
    assert left.input_ids == [1, 4] and left.loss_weights == [0.0, 1.0]
    assert weighted(rows, [0.0, 0.0]) == []
