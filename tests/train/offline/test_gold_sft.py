"""Objective sft: the gold solution or the answer alone is learned, and a run resumes to the bit."""

import pytest

from apportion.config import RunConfig
from apportion.errors import UserError
from apportion.policies import load_policy
from apportion.records import RunDirectory, read_kind
from apportion.tasks import load_task
from apportion.train.arm import run_arm
from apportion.train.offline.gold_sft import gold_rows

TASK = {"kind": "sums", "operations": [2, 2], "terms": [1, 9], "largest": 60}


def config(**given):
    return RunConfig(
        name="sft",
        objective="sft",
        task=TASK,
        policy={"kind": "tiny", "checkpoint": "sums"},
        train={"updates": 4, "prompts_per_update": 4, "learning_rate": 1e-3, "threads": 1,
               "max_completion_tokens": 40} | given.pop("train", {}),
        eval={"every": 2, "problems": 4, "final_problems": 4, "showcase": 0},
        **given,
    )  # fmt: skip


@pytest.mark.parametrize(("chains", "lines"), [("gold", 3), ("none", 1)])
def test_rows_hold_the_chain_or_the_answer_alone(chains, lines):
    task, policy = load_task(TASK), load_policy({"kind": "tiny", "checkpoint": "sums"})
    problems = task.problems("train", 3, 0)
    rows = gold_rows(policy, task, problems, config(sft={"chains": chains}))
    for row, problem in zip(rows, problems, strict=True):
        learned = [label for label in row.labels if label >= 0]
        assert learned[-1] == policy.tokenizer.eos_token_id
        text = policy.tokenizer.decode(learned[:-1])
        gold = task.gold_completion(problem)
        assert text.strip() == "\n".join(gold.splitlines()[-lines:])


def test_a_problem_without_gold_is_named():
    task, policy = load_task(TASK), load_policy({"kind": "tiny", "checkpoint": "sums"})
    task.gold_completion = lambda problem: None
    with pytest.raises(UserError, match="has no gold solution to learn"):
        gold_rows(policy, task, task.problems("train", 1, 0), config())


class Quiet:
    def say(self, text):
        pass

    def advance(self, count=1):
        pass


def test_it_trains_and_resumes_to_the_bit(tmp_path):
    settings = config(train={"checkpoint_every": 2})
    folder, checkpoints = tmp_path / "arm", tmp_path / "arm/checkpoints"
    with RunDirectory(folder) as run:
        run.write_config(settings.model_dump(mode="json"))
        run.write_manifest([])
        run_arm(settings, 0, run, progress=Quiet())
    lines, complaints = read_kind(folder, "metrics")
    assert not complaints
    losses = [line.metrics["train/loss"] for line in lines if line.split == "train"]
    assert len(losses) == 4 and min(losses) > 0
    assert (lines[-1].split, lines[-1].update, lines[-1].rollouts) == ("test", 4, 0)

    whole = (checkpoints / "final/model.safetensors").read_bytes()
    for name in ("final", "checkpoint-4"):
        (checkpoints / name).rename(tmp_path / name)
    with RunDirectory(folder, resume=True) as run:
        run_arm(settings, 0, run, progress=Quiet())
    assert (checkpoints / "final/model.safetensors").read_bytes() == whole


def test_the_final_policy_is_measured_on_another_task_too(tmp_path):
    settings = config(train={"updates": 1})
    longer = {"transfer": TASK | {"operations": [6, 6]}}
    settings = settings.model_copy(update={"eval": settings.eval.model_copy(update=longer)})
    with RunDirectory(tmp_path / "arm") as run:
        run.write_config(settings.model_dump(mode="json"))
        run.write_manifest([])
        run_arm(settings, 0, run, progress=Quiet())
    final = read_kind(tmp_path / "arm", "metrics")[0][-1].metrics
    # The longer the problem, the more lines the policy writes.
    assert final["transfer/steps"]["value"] > final["eval/steps"]["value"] + 1
