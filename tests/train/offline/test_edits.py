"""Training offline on edited chains: what is learned from, and an arm from end to end."""

import json
import math

import pytest
import torch
import yaml

from apportion import UserError
from apportion.config import EditsConfig, RunConfig, resolve
from apportion.policies.language_model import LanguageModelPolicy
from apportion.policies.tiny import build_model
from apportion.records import RunDirectory, read_kind
from apportion.train.offline.edit_source import read_edits, supervised_rows
from tests.train.offline.edits_setup import TASK, write_source
from tests.train.tiny_setup import make_tokenizer


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_source(tmp_path_factory.mktemp("edits") / "run")


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.fixture
def policy(tokenizer):
    model = build_model(tokenizer, hidden_size=32, layers=2, heads=2)
    return LanguageModelPolicy(model, tokenizer, "t")


def texts(policy, rows):
    """What is learned of each row, without the end of text."""
    return [policy.tokenizer.decode([i for i in row.labels if i >= 0][:-1]) for row in rows]


def test_usable_edits_are_learned_from_and_right_originals_where_asked(source, policy):
    found = read_edits(str(source))
    assert len(found.rollouts) == 16 and len(found.usable) == 8
    assert all(edit.text == r.text[13:] for r, edit in found.pairs)
    gold = [str(TASK.gold_completion(p)) for p in TASK.problems("train", 8, 0)]
    assert texts(policy, supervised_rows(found, policy, EditsConfig())) == gold
    both = EditsConfig(chains="edited_or_right")
    assert texts(policy, supervised_rows(found, policy, both)) == gold
    right = supervised_rows(found, policy, EditsConfig(chains="right"))
    assert texts(policy, right) == ["so 2 + 2 = 4\n" + text for text in gold]
    alone = found._replace(usable={})
    assert len(supervised_rows(alone, policy, both)) == 8
    with pytest.raises(UserError, match="of 16 rollouts none is left to learn from"):
        supervised_rows(alone, policy, EditsConfig())


def test_the_loss_may_be_on_the_edit_alone(source, policy):
    rows = supervised_rows(read_edits(str(source)), policy, EditsConfig(kept=0.0))
    for row, problem in zip(rows, TASK.problems("train", 8, 0), strict=True):
        learned = policy.tokenizer.decode([i for i in row.labels if i >= 0])
        assert learned == str(TASK.gold_completion(problem)).split("####")[0]


def test_weights_of_chains_by_hand(source, policy):
    found = read_edits(str(source))
    first = found.rollouts[0].problem.id
    # The first problem's rollouts were both wrong but for the edited one: 1 - 1/3.
    more = found.rollouts[1].model_copy(update={"id": "more"})
    found = found._replace(rollouts=[*found.rollouts, more])
    rows = supervised_rows(found, policy, EditsConfig(weight="advantage"))
    heavy = [row.trained[0] for row in rows]
    assert found.pairs[0][0].problem.id == first
    assert heavy[0] / heavy[1] == pytest.approx((2 / 3) / (1 / 2))
    every = [w for row in rows for w in row.trained]
    assert sum(every) / len(every) == pytest.approx(1.0)
    half = found._replace(
        usable={
            k: e.model_copy(update={"right": 2.0}) if i == 0 else e
            for i, (k, e) in enumerate(found.usable.items())
        }
    )
    rows = supervised_rows(half, policy, EditsConfig(weight="verified"))
    assert rows[0].trained[0] / rows[1].trained[0] == pytest.approx(2.0)


def test_sources_that_cannot_serve_are_named(tmp_path):
    with pytest.raises(UserError, match=r"there is no edits.jsonl with its rollouts.jsonl"):
        read_edits(str(tmp_path))
    unverified = write_source(tmp_path / "unverified", problems=2, verified=False)
    with pytest.raises(UserError, match=r"0 unchanged, 2 not verified, 2 refused, most .*: wrong"):
        read_edits(str(unverified))
    torn = write_source(tmp_path / "torn", problems=2)
    with (torn / "edits.jsonl").open("a") as file:
        file.write('{"rollout_id": "x"')
    with pytest.raises(UserError, match=r"edits.jsonl:5: unfinished"):
        read_edits(str(torn))
    lost = write_source(tmp_path / "lost", problems=2)
    (lost / "rollouts.jsonl").write_bytes((lost / "rollouts.jsonl").read_bytes().splitlines()[0])
    with pytest.raises(UserError, match=r"rollout words-.*/wrong of an edit is not there"):
        read_edits(str(lost / "edits.jsonl"))


def test_the_configuration_wants_a_source():
    with pytest.raises(ValueError, match=r"objective sft_on_edits needs edits.source"):
        RunConfig(name="r", objective="sft_on_edits")
    with pytest.raises(ValueError, match="are options of sft_on_edits"):
        RunConfig(name="r", objective="dpo_on_edits", edits=EditsConfig(source="x", kept=0.0))
    config = RunConfig(name="r", objective="dpo_on_edits", edits=EditsConfig(source="x", beta=0.2))
    assert config.arm_names == ("dpo_on_edits",)


def test_dpo_loss_by_hand(source, policy, tmp_path):
    from datasets import Dataset
    from trl import DPOConfig

    from apportion.train.offline.preference import dpo_trainer, preference_rows

    found = read_edits(str(source))
    rows = preference_rows(policy, found.pairs)
    assert rows[0]["chosen"] == found.pairs[0][1].text
    assert rows[0]["rejected"] == found.pairs[0][0].text
    args = DPOConfig(output_dir=str(tmp_path), beta=0.5, use_cpu=True, bf16=False, report_to=[],
                     gradient_checkpointing=False, max_length=None)  # fmt: skip
    trainer = dpo_trainer(policy, args=args, train_dataset=Dataset.from_list(rows))
    batch = trainer.data_collator([trainer.train_dataset[0]])
    loss = trainer.compute_loss(trainer.model, dict(batch))
    assert loss.item() == pytest.approx(math.log(2), rel=1e-5)  # the policy is its own reference

    before = [logp(policy, rows[0], side) for side in ("chosen", "rejected")]
    with torch.no_grad():
        policy.model.model.layers[0].self_attn.q_proj.weight.add_(0.05)
        policy.model.lm_head.weight.mul_(1.7)
    after = [logp(policy, rows[0], side) for side in ("chosen", "rejected")]
    margin = 0.5 * ((after[0] - before[0]) - (after[1] - before[1]))
    assert abs(margin) > 0.1
    loss = trainer.compute_loss(trainer.model, dict(batch))
    assert loss.item() == pytest.approx(math.log1p(math.exp(-margin)), rel=1e-4)


def logp(policy, row, side):
    """log p of a completion and its end of text, by the full logits."""
    prompt = policy.tokenizer(row["prompt"])["input_ids"]
    ids = [*prompt, *policy.tokenizer(row[side])["input_ids"], policy.tokenizer.eos_token_id]
    with torch.no_grad():
        logps = torch.log_softmax(policy.model(torch.tensor([ids])).logits[0].double(), -1)
    return sum(logps[t - 1, ids[t]].item() for t in range(len(prompt), len(ids)))


def test_a_chat_policy_gets_messages(policy, source):
    from apportion.train.offline.preference import preference_rows

    policy.chat = True
    row = preference_rows(policy, read_edits(str(source)).pairs)[0]
    assert row["prompt"][0]["role"] == "user" and row["chosen"][0]["role"] == "assistant"


class Quiet:
    """A progress that remembers what was said."""

    def __init__(self):
        self.said, self.steps = [], 0

    def say(self, text):
        self.said.append(text)

    def advance(self, count=1):
        self.steps += count


def recipe(tmp_path, source, tokenizer, **changes):
    model = tmp_path / "model"
    if not model.exists():
        build_model(tokenizer, hidden_size=32, layers=2, heads=2).save_pretrained(model)
        tokenizer.save_pretrained(model)
    settings = {
        "name": "r",
        "task": {"kind": "words", "operations": [1, 1]},
        "policy": {"kind": "tiny", "checkpoint": str(model)},
        "reviewers": ["gold"],
        "train": {
            "updates": 6,
            "learning_rate": 0.01,
            "max_completion_tokens": 8,
            "checkpoint_every": 3,
            "threads": 1,
        },
        "edits": {"source": str(source), "batch_size": 2},
        "eval": {"every": 3, "problems": 2, "final_problems": 2, "showcase": 0},
        "alarm": {"enabled": False},
    } | changes
    file = tmp_path / "r.yaml"
    file.write_text(yaml.safe_dump(settings))
    return resolve(str(file), [])


@pytest.mark.parametrize("objective", ["sft_on_edits", "dpo_on_edits"])
def test_an_arm_trains_evaluates_and_resumes(tmp_path, source, tokenizer, objective):
    from apportion.train.arm import run_arm

    config = recipe(tmp_path, source, tokenizer, objective=objective)
    progress = Quiet()
    with RunDirectory(tmp_path / "arm") as run:
        run.write_config(config.model_dump(mode="json"))
        run.write_manifest([])
        run_arm(config, 0, run, progress=progress)
    assert progress.said[0] == "8 chains of 16 rollouts" and progress.steps == 6
    lines, complaints = read_kind(tmp_path / "arm", "metrics")
    assert not complaints
    seen = [(line.update, line.rollouts) for line in lines if line.split == "validation"]
    # Two chains an update of eight, made of sixteen rollouts; nothing is sampled after that.
    assert seen == [(0, 0), (3, 12), (6, 16)]
    losses = [line.metrics["train/loss"] for line in lines if line.split == "train"]
    assert len(losses) == 6 and losses[-1] < losses[0]
    final = lines[-1]
    assert (final.split, final.update, final.rollouts) == ("test", 6, 16)
    assert "eval/accuracy" in final.metrics
    assert "finished" in json.loads((tmp_path / "arm/manifest.json").read_text())
    trained = next(line for line in lines if line.split == "train").metrics
    assert ("preference/accuracy" in trained) == (objective == "dpo_on_edits")
    assert "train/token_accuracy" in trained

    checkpoints = tmp_path / "arm/checkpoints"
    whole = (checkpoints / "final/model.safetensors").read_bytes()
    for folder in ("final", "checkpoint-6"):
        (checkpoints / folder).rename(tmp_path / folder)
    with RunDirectory(tmp_path / "arm", resume=True) as run:
        run_arm(config, 0, run, progress=Quiet())
    assert (checkpoints / "final/model.safetensors").read_bytes() == whole
    again, _ = read_kind(tmp_path / "arm", "metrics")
    assert [line.metrics.get("train/loss") for line in again if line.split == "train"] == losses


def test_a_loss_that_is_not_finite_stops_the_arm(tmp_path, source, tokenizer):
    from apportion.train.arm import run_arm

    config = recipe(tmp_path, source, tokenizer, objective="sft_on_edits")
    settings = config.model_dump(mode="json")
    settings["train"] |= {"learning_rate": 1e30, "checkpoint_every": 0}
    with (
        RunDirectory(tmp_path / "arm") as run,
        pytest.raises(UserError, match=r"the loss is nan at update .*: lower train.learning_rate"),
    ):
        run_arm(RunConfig.model_validate(settings), 0, run, progress=Quiet())


def test_what_is_evaluated_on_is_not_learned_from(tmp_path, tokenizer):
    from apportion.train.arm import run_arm

    source = write_source(tmp_path / "source", split="validation")
    config = recipe(tmp_path, source, tokenizer, objective="sft_on_edits")
    with (
        RunDirectory(tmp_path / "arm") as run,
        pytest.raises(UserError, match=r"2 of its problems are evaluated on"),
    ):
        run_arm(config, 0, run, progress=Quiet())
