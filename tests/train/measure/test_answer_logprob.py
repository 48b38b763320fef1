"""Held-out likelihood of references after a chain, and tasks that nobody grades."""

import pytest

torch = pytest.importorskip("torch")

from apportion.config import RunConfig  # noqa: E402
from apportion.errors import UserError  # noqa: E402
from apportion.policies import load_policy  # noqa: E402
from apportion.policies.tiny import load_tiny  # noqa: E402
from apportion.records import RunDirectory, read_kind  # noqa: E402
from apportion.tasks import load_task  # noqa: E402
from apportion.trace import Problem, Rollout  # noqa: E402
from apportion.train.arm import run_arm  # noqa: E402
from apportion.train.measure.alarm import CollapseAlarm  # noqa: E402
from apportion.train.measure.answer_logprob import answer_logprob  # noqa: E402
from apportion.train.measure.evaluate import evaluate  # noqa: E402

SUMS = {"kind": "sums", "operations": [2, 2], "terms": [1, 9], "largest": 60}


@pytest.fixture(scope="module")
def policy():
    return load_tiny("sums")


def rollout(policy, problem, text):
    ids = policy.tokenizer(text, add_special_tokens=False)["input_ids"]
    return Rollout(
        id=problem.id, problem=problem, text=text, reasoning_end=len(text), policy="tiny",
        token_ids=(*ids, policy.tokenizer.eos_token_id), token_spans=((0, 0),) * (len(ids) + 1),
    )  # fmt: skip


def by_hand(policy, prompt, text):
    """Log-probability of the tokens after the last marker of ``text``, one forward pass, and how
    many they are."""
    tokenizer = policy.tokenizer
    read = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    cut = text.rindex("####") + len("####")
    kept = tokenizer(text[:cut], add_special_tokens=False)["input_ids"]
    answer = tokenizer(text, add_special_tokens=False)["input_ids"][len(kept) :]
    row = [*read, *kept, *answer, tokenizer.eos_token_id]
    policy.model.eval()
    with torch.no_grad():
        logps_TV = policy.model(torch.tensor([row])).logits[0].log_softmax(-1)
    first = len(read) + len(kept)
    found = [logps_TV[t - 1, row[t]].item() for t in range(first, len(row))]
    return sum(found), len(found)


def test_it_is_what_a_forward_pass_by_hand_gives(policy):
    one = load_task(SUMS).problems("test", 1, 0)[0]
    two = one.model_copy(update={"id": "two", "answers": ("7", "12")})
    one = one.model_copy(update={"answers": ("5",)})
    head = "3 + 4 = 7\n7 - 2 = 5\n#### "
    found = answer_logprob(policy, [rollout(policy, p, head + "9") for p in (one, two)])
    five, seven, twelve = (by_hand(policy, one.prompt, head + a) for a in ("5", "7", "12"))
    # A problem counts once, however many references it has.
    nats = (five[0] + (seven[0] + twelve[0]) / 2) / 2
    tokens = (five[1] + (seven[1] + twelve[1]) / 2) / 2
    measured, each = found["eval/answer_logprob"], found["eval/answer_logprob_token"]
    assert measured.value == pytest.approx(nats, abs=1e-4) and measured.n == 2
    assert each.value == pytest.approx(nats / tokens, abs=1e-4)
    assert measured.low <= measured.value <= measured.high


def test_without_the_marker_it_counts_the_marker_too(policy):
    problem = load_task(SUMS).problems("test", 1, 0)[0]
    found = answer_logprob(policy, [rollout(policy, problem, "3 + 4 = 7")])
    written, _ = by_hand(policy, problem.prompt, f"3 + 4 = 7\n#### {problem.answers[0]}")
    assert found["eval/answer_logprob"].value < written - 1e-3


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (("5", " "), "problem p: a reference answer is empty"),
        ((), "no problem of the evaluation has a reference"),
        (("word " * 600,), "exceed the context of 512"),
    ],
)
def test_bad_references_are_named(policy, answers, said):
    problem = Problem(id="p", prompt="1 + 1\n", answers=answers)
    with pytest.raises(UserError, match=said):
        answer_logprob(policy, [rollout(policy, problem, "#### 2")])


def test_a_policy_without_weights_is_refused():
    scripted = load_policy({"kind": "scripted", "completions": ["#### 2"]})
    with pytest.raises(UserError, match="needs a policy with weights"):
        answer_logprob(scripted, [])


def test_an_ungraded_task_has_lengths_and_a_headline(policy):
    task = load_task("inexact")
    found = evaluate(
        policy, task, task.problems("test", 3, 0), max_tokens=8, samples=2, ks=(1,),
        answer_marker="####",
    )  # fmt: skip
    assert "eval/accuracy" not in found.metrics and "eval/pass@1" not in found.metrics
    assert found.metrics["eval/length"].n == found.metrics["eval/answer_logprob"].n == 3
    assert found.headline() == f"log p(reference) {found.value('eval/answer_logprob'):.2f}"


def test_the_alarm_watches_lengths_where_nothing_is_graded():
    alarm = CollapseAlarm(RunConfig(name="x").alarm)
    assert alarm.check(0, None, 40, 4) is None and alarm.check(5, None, 40, 4) is None
    assert alarm.check(10, None, 10, 4) is None
    assert "10.0 tokens a completion after 40.0; no later update" in alarm.check(15, None, 10, 4)


class Quiet:
    def say(self, text):
        pass

    def advance(self, count=1):
        pass


@pytest.mark.parametrize(
    "given",
    [
        {"reward": {"kind": "likelihood", "form": "logprob"}},
        {"objective": "sft", "sft": {"chains": "none"}},
    ],
    ids=["likelihood", "sft"],
)
def test_two_updates_without_a_grader(tmp_path, given):
    settings = RunConfig(
        name="inexact", task={"kind": "inexact"}, policy={"kind": "tiny", "checkpoint": "sums"},
        reviewers=[],
        train={"updates": 2, "prompts_per_update": 2, "group_size": 2, "learning_rate": 1e-3,
               "threads": 1, "max_completion_tokens": 12, "record_every": 1},
        eval={"every": 1, "problems": 2, "final_problems": 3, "samples": 2, "k": [1],
              "showcase": 1, "answer_logprob": True},
        **given,
    )  # fmt: skip
    with RunDirectory(tmp_path / "arm") as run:
        run.write_config(settings.model_dump(mode="json"))
        run.write_manifest([])
        run_arm(settings, 0, run, progress=Quiet())
    lines = [x for x in read_kind(tmp_path / "arm", "metrics")[0] if x.split != "train"]
    assert [x.split for x in lines] == ["validation"] * 3 + ["test"]
    for line in lines:
        assert line.metrics["eval/answer_logprob"]["value"] < 0
        assert "eval/accuracy" not in line.metrics
