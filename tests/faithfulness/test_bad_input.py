"""Chains and policies that are hard to measure: every measure has a figure or a reason for each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from apportion.faithfulness import MEASURES, Subject, load_measure
from apportion.faithfulness.run import estimate_all, measured
from apportion.policies.tiny import load_tiny
from apportion.tasks import load_task
from apportion.trace import Problem, Rollout
from tests.faithfulness.rules import RulePolicy, gold_rollouts, last_number

TASK = load_task({"kind": "sums", "operations": [2, 3], "terms": [1, 9], "largest": 60})
# The others are about chains of latents.
TEXT = [name for name, m in MEASURES.items() if "latent" not in m.needs and name != "stated_values"]
INSIDE = {name for name, m in MEASURES.items() if m.needs & {"model", "logprobs"}}


def rollout(text: str, prompt: str = "3 + 4\n", answer: str = "7") -> Rollout:
    steps = [{"expression": "3 + 4", "result": "7", "text": "so 3 + 4 = 7", "needs": []}]
    problem = Problem(id=f"p{len(text)}", prompt=prompt, answers=(answer,), meta={"steps": steps})
    return Rollout(
        id=problem.id, problem=problem, text=text, finish="stop",
        reasoning_end=TASK.reasoning_end(text),
    )  # fmt: skip


def options(name: str) -> dict:
    return {"name": name} | ({"ignore": 1} if name == "receiver_heads" else {})


@pytest.fixture(scope="module")
def tiny() -> Subject:
    return Subject(load_tiny("sums"), TASK, max_tokens=24)


@pytest.mark.parametrize("name", TEXT)
def test_a_chain_of_one_step_has_a_figure_or_a_reason(tiny, name):
    (probe,) = measured(load_measure(options(name)), tiny, [rollout("so 3 + 4 = 7\n#### 7")])
    assert len(probe.steps) == 1 or probe.error
    if name == "receiver_heads":
        assert "too few" in (probe.error or "")
    elif probe.value is None:
        assert probe.error or name in {
            "hint_use", "mediation", "counterfactual", "performative", "caught_mistakes",
            "monitorability", "commitment",
        }  # fmt: skip
    else:
        assert -1 <= probe.value <= 1 or name == "attention_suppression"
    json.loads(probe.model_dump_json())


def long_chain(steps: int) -> Rollout:
    problem = TASK.problems("test", 1, 0)[0]
    lines = "".join(f"so {k % 50} + 1 = {k % 50 + 1}\n" for k in range(steps))
    text = f"{lines}#### {(steps - 1) % 50 + 1}"
    return Rollout(
        id="long", problem=problem, text=text, reasoning_end=TASK.reasoning_end(text),
        finish="stop",
    )  # fmt: skip


class Counting(RulePolicy):
    """Counts what it is asked."""

    asked = 0

    def continue_texts(self, prefixes, **options):
        self.asked += len(prefixes)
        return super().continue_texts(prefixes, **options)


# How many steps of 2,000 they look at, unless asked for more or fewer.
TRIED = {
    "added_mistakes": 4, "step_deletion": 8, "early_answering": 11, "forced_answer": 64,
    "commitment": 64, "resampling": 64, "counterfactual": 64, "step_mediation": 64,
    "true_thinking": 64,
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in TEXT if name not in INSIDE])
def test_a_chain_of_two_thousand_steps_is_measured_at_some_of_them_and_says_at_how_many(name):
    fewer = {"n": 1} if "n" in MEASURES[name].model_fields else {}
    measure = load_measure({"name": name, **fewer})
    policy = Counting(last_number)
    (probe,) = measured(measure, Subject(policy, TASK, max_tokens=16), [long_chain(2000)])
    assert probe.error is None and len(probe.steps) == 2000
    assert len(probe.by_step) in (0, 2000)
    assert policy.asked <= 4 * 64 + 1
    assert probe.meta.get("tried") == ((TRIED[name], 2000) if name in TRIED else None)


@pytest.mark.parametrize("name", [n for n in TRIED if "steps" in MEASURES[n].model_fields])
def test_the_steps_that_are_tried_have_the_figures_of_a_whole_probe(name):
    fewer = {"n": 1} if "n" in MEASURES[name].model_fields else {}
    subject = Subject(RulePolicy(last_number), TASK, max_tokens=16)
    chain = long_chain(40)
    (every,) = measured(load_measure({"name": name, "steps": 40, **fewer}), subject, [chain])
    (some,) = measured(load_measure({"name": name, "steps": 5, **fewer}), subject, [chain])
    assert every.meta["tried"] == (40, 40) and some.meta["tried"] == (5, 40)
    known = {i for i, value in enumerate(some.by_step) if value is not None}
    if name != "counterfactual":  # the rule writes every step anew in the same way
        assert known == {0, 10, 19, 29, 39} | (set(range(40)) if name == "commitment" else set())
    assert all(some.by_step[i] == every.by_step[i] for i in known)


@pytest.mark.parametrize("name", TEXT)
def test_a_chain_that_does_not_fit_the_context_is_recorded_with_the_reason(tiny, name):
    text = "so 3 + 4 = 7\n" * 80 + "#### 7"
    good = rollout("so 3 + 4 = 7\n#### 7")
    probes = measured(load_measure(options(name)), tiny, [rollout(text), good])
    assert [probe.rollout_id for probe in probes] == [rollout(text).id, good.id]
    # Some ask only for what comes before the chain, or nothing at all.
    if name not in {
        "hint_use", "bias", "monitorability", "decision_points", "mediation", "anchoring_lexical",
    }:  # fmt: skip
        shows = name in {"performative", "caught_mistakes"}
        assert shows or "context" in (probes[0].error or ""), probes[0]


@pytest.mark.parametrize("name", TEXT)
@pytest.mark.parametrize("text", ["so 3 + 4 = 7\n", "so 3 + 4 = 7\n#### \n", "", "#### 7"])
def test_without_a_readable_answer_or_reasoning_there_is_a_reason_and_no_zero(tiny, name, text):
    (probe,) = measured(load_measure(options(name)), tiny, [rollout(text)])
    assert probe.value is None and probe.error in (
        "states no answer that can be read", "has no reasoning",
    )  # fmt: skip
    assert load_measure(options(name)).summarise([probe]) == {}
    assert estimate_all(tiny, [load_measure(options(name))], [rollout(text)], {})[name] == 0


@pytest.mark.parametrize("name", TEXT)
def test_a_policy_without_log_probabilities_is_sampled_and_the_record_says_so(name):
    subject = Subject(RulePolicy(last_number), TASK)
    measure = load_measure(name)
    if name in INSIDE:
        with pytest.raises(ValueError, match=f"measure {name} (looks into the|needs log)"):
            measure.measure(subject, gold_rollouts(TASK, 1))
        return
    probes = measured(measure, subject, gold_rollouts(TASK, 3))
    assert {probe.scoring for probe in probes} == {"sampling"}
    assert all(probe.error is None for probe in probes)


class Prefilled(RulePolicy):
    """A template that ends with the thinking tag: a completion begins inside it."""

    def continue_texts(self, prefixes, **options):
        assert not any(p.text.startswith("<think>") for p in prefixes)
        return super().continue_texts(prefixes, **options)

    def _rest(self, problem, text):
        thought, _, after = text.partition("</think>\n")
        if after:
            return super()._rest(problem, thought + "####")
        rest = super()._rest(problem, thought).removesuffix(" " + self.answer(problem, ""))
        chain, _, answer = rest.partition("#### ")
        return f"{chain}</think>\n#### {answer}"


@pytest.mark.parametrize(
    "name",
    [name for name in TEXT if name not in INSIDE],
)
def test_a_template_that_prefills_the_thinking_tag_changes_no_figure(name):
    fewer = {"n": 1} if "n" in MEASURES[name].model_fields else {}
    plain = gold_rollouts(TASK, 4)
    inside = []
    for one in plain:
        text = one.text.replace("####", "</think>\n####")
        end = text.index("####")
        inside.append(one.model_copy(update={"text": text, "reasoning_end": end}))
    values = []
    for policy, rollouts in (
        (RulePolicy(last_number), plain),
        (Prefilled(last_number), inside),
    ):
        subject = Subject(policy, TASK)
        probes = measured(load_measure({"name": name, **fewer}), subject, rollouts)
        assert [probe.error for probe in probes] == [None] * 4
        values.append([probe.value for probe in probes])
    assert values[0] == values[1]
    if name in {*TRIED, "filler"} - {"resampling"}:
        assert all(value is None or value > 0 for value in values[0])


@pytest.mark.slow
def test_killed_outright_it_goes_on_and_counts_nothing_twice(tmp_path):
    command = [
        sys.executable, "-m", "apportion", "probe", "sums", "--task",
        "{kind: sums, operations: [2, 3], terms: [1, 9], largest: 60}", "--problems", "64",
        "-m", "step_deletion", "-m", "early_answering", "--out", "found", "--plain",
    ]  # fmt: skip
    quiet = {"cwd": tmp_path, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    file = tmp_path / "found" / "probes.jsonl"
    running = subprocess.Popen(command, **quiet)
    while running.poll() is None and (not file.exists() or file.read_text().count("\n") < 10):
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    before = file.read_text().count("\n")
    assert 10 <= before < 128
    assert subprocess.run(command, check=False, **quiet).returncode == 0
    kept = [json.loads(line) for line in file.read_text().splitlines()]
    keys = [(record["measure"], record["rollout_id"]) for record in kept]
    assert len(set(keys)) == len(keys) == 128
