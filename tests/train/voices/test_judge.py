"""A policy that learns to judge: what it is asked and taught, and that it does learn."""

import json

import pytest

from apportion import UserError
from apportion.config.voices import JudgeConfig
from apportion.review.check import task_cases
from apportion.review.llm_protocol import read_answer
from apportion.tasks import load_task

torch = pytest.importorskip("torch")

from apportion.train.voices.judge import (  # noqa: E402
    answer_text,
    judge_rows,
    make_chat,
    measure_judge,
    train_judge,
)

pytestmark = pytest.mark.filterwarnings("ignore")

TEMPLATE = (
    "{% for m in messages %}{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}={% endif %}"
)
SUMS = {"kind": "sums", "operations": [2, 2], "terms": [1, 4], "largest": 20}
PROMPT = """---
answer: {form}
---
=
=====
{{problem}}
{{trace}}
"""


@pytest.fixture
def chat():
    from apportion.policies.language_model import LanguageModelPolicy
    from apportion.policies.tiny import build_model, train_tokenizer

    texts = ['{"wrong_steps": [0, 1]}{"steps": [{"step": 0, "label": "useful harmful"}]}']
    tokenizer = train_tokenizer([*texts, "===== BEGIN SOLUTION so 1 + 2 = 3"], 400)
    tokenizer.chat_template = TEMPLATE
    model = build_model(tokenizer, hidden_size=32, layers=2, heads=2, context=1024)
    return LanguageModelPolicy(model, tokenizer, "chat", chat=True)


def prompt_file(tmp_path, form):
    path = tmp_path / f"{form}.md"
    path.write_text(PROMPT.format(form=form))
    return str(path)


@pytest.mark.parametrize("form", ["steps", "wrong"])
def test_what_is_taught_is_read_as_the_truth(form):
    cases = task_cases(load_task(SUMS), problems=5)
    assert {case.kind for case in cases} > {"clean", "wrong_arithmetic"}
    for case in cases:
        reading = read_answer(form, answer_text(form, case), case.item.text, case.steps)
        assert [v.wrong for v in reading.verdicts] == [bool(v.wrong) for v in case.truth]


def test_with_reasons_a_label_comes_after_the_step_as_it_is_and_as_it_ought_to_be():
    by_kind = {case.kind: case for case in task_cases(load_task(SUMS), problems=1)}
    clean, slip = by_kind["clean"], by_kind["wrong_arithmetic"]
    lines = [step.text(clean.item.text).strip() for step in clean.steps]
    wrong = next(i for i, verdict in enumerate(slip.truth) if verdict.wrong)
    told = json.loads(answer_text("steps", slip, reasons=True))["steps"]
    assert list(told[0]) == ["step", "reason", "label"]
    shown = [step.text(slip.item.text).strip() for step in slip.steps]
    ought = [lines[i] if i == wrong else shown[i] for i in range(len(shown))]
    assert shown[wrong] != lines[wrong]
    assert [verdict["reason"] for verdict in told] == [
        f"{one}; {other}" for one, other in zip(shown, ought, strict=True)
    ]


@pytest.mark.parametrize("reasons", [False, True])
def test_an_outcome_judge_says_whether_the_answer_is_right(chat, reasons):
    task = load_task(SUMS)
    options = JudgeConfig(prompt="bare_outcome", problems=3, reasons=reasons)
    cases = task_cases(task, problems=3, split="train")
    rows = judge_rows(chat, task, options, seed=0)
    assert {case.item.outcome for case in cases} == {0.0, 1.0} and len(rows) == len(cases)
    for case, row in zip(cases, rows, strict=True):
        told = json.loads(chat.decode(row.completion)[0])
        assert told.pop("right") is (case.item.outcome == 1.0)
        stated = case.item.text.rsplit("\n", 1)[1]
        solution = {"analysis": f"{task.gold_completion(case.item.problem)}\n{stated}"}
        assert told == (solution if reasons else {})


def test_an_outcome_judge_is_measured_on_answers(chat):
    options = JudgeConfig(
        prompt="bare_outcome", problems=4, updates=40, batch_size=8, learning_rate=5e-3,
        max_tokens=16, held_out=2,
    )  # fmt: skip
    task = load_task(SUMS)
    train_judge(chat, task, options)
    report = measure_judge(chat, task, options, seed=0)
    assert report.failed.value < 0.2 and report.tpr is not None and report.fpr is not None
    read = round(report.reviews * (1 - report.failed.value))
    assert report.tpr.n + report.fpr.n == read and report.reviews == len(
        task_cases(task, problems=2)
    )


def test_a_row_is_the_question_of_the_reviewer_and_the_answer_with_its_end(chat, tmp_path):
    options = JudgeConfig(prompt=prompt_file(tmp_path, "wrong"), problems=2)
    rows = judge_rows(chat, load_task(SUMS), options, seed=0)
    asked = chat.tokenizer.decode(rows[0].prompt)
    assert "BEGIN SOLUTION" in asked and "[1] " in asked and asked.endswith("=")
    assert rows[0].completion[-1] == chat.tokenizer.eos_token_id
    assert json.loads(chat.decode(rows[0].completion)[0]) == {
        "wrong_steps": []
    }  # clean comes first


def test_the_verdicts_are_learned(chat, tmp_path):
    options = JudgeConfig(
        prompt=prompt_file(tmp_path, "wrong"), problems=4, updates=60, batch_size=8,
        learning_rate=5e-3, max_tokens=24, held_out=2,
    )  # fmt: skip
    task = load_task(SUMS)
    before = measure_judge(chat, task, options, seed=0)
    train_judge(chat, task, options)
    after = measure_judge(chat, task, options, seed=0)
    assert before.failed.value == 1.0 and before.youden is None
    assert after.failed.value < 0.2 and after.youden is not None


def test_half_of_the_answers_carry_an_injection_and_keep_their_truth(chat):
    task = load_task(SUMS)
    asked = {"prompt": "bare_outcome", "problems": 20, "reasons": True}
    plain = judge_rows(chat, task, JudgeConfig(**asked), seed=0)
    hardened = judge_rows(chat, task, JudgeConfig(**asked, injections=["pity", "bribe"]), seed=0)
    texts = [chat.tokenizer.decode(row.prompt) for row in hardened]
    pity, bribe = ("lose my place" in text for text in texts), ["rated highest" in t for t in texts]
    carrying = [any(pair) for pair in zip(pity, bribe, strict=True)]
    assert 0.3 < sum(carrying) / len(texts) < 0.7 and any(bribe) and not all(bribe)
    assert any("] I will lose my place" in text for text in texts)
    assert [row.completion for row in hardened] == [row.completion for row in plain]


def test_refusals(chat, tmp_path):
    task = load_task(SUMS)
    with pytest.raises(UserError, match="asks for an answer of the form free"):
        judge_rows(chat, task, JudgeConfig(prompt="free"), seed=0)
    with pytest.raises(UserError, match=r"no shipped injection 'pitty' \(did you mean 'pity'\?\)"):
        judge_rows(chat, task, JudgeConfig(prompt="bare_outcome", injections=["pitty"]), seed=0)
    listed = JudgeConfig(prompt=prompt_file(tmp_path, "wrong"), problems=2, reasons=True)
    with pytest.raises(UserError, match=r"judge\.reasons: an answer of the form wrong"):
        judge_rows(chat, task, listed, seed=0)
    with pytest.raises(UserError, match="a text that is no step has no truth"):
        judge_rows(chat, task, JudgeConfig(prompt="bare", injections=["pity"]), seed=0)
    with pytest.raises(UserError, match="task parity plants no errors"):
        judge_rows(chat, load_task("parity"), JudgeConfig(), seed=0)


def test_a_policy_without_a_chat_template_gets_one_and_tokens_for_what_is_said_often(tmp_path):
    from apportion.policies.tiny import load_tiny
    from apportion.review.local_model import chat_ids, chat_policy

    policy = load_tiny("sums")
    make_chat(policy)
    policy.save(tmp_path)
    messages = [{"role": "system", "content": "a"}, {"role": "user", "content": "1 + 2"}]
    loaded = chat_policy(str(tmp_path))
    told = '{"steps": [{"step": 0, "reason": "so 1 + 2 = 3", "label": "useful"}]}'
    ids = loaded.tokenizer(told)["input_ids"]
    assert loaded.decode(ids)[0] == told and len(ids) < 20
    assert loaded.tokenizer.decode(chat_ids(loaded, messages)) == "a\n1 + 2\n"
