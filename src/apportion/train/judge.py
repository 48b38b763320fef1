"""Trains a policy to judge: chains with planted errors in, verdicts as JSON out.

What comes out is an ordinary chat model that the reviewer ``llm`` understands, in this process
(``base_url: local``) or behind any server of the OpenAI protocol.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence

from apportion.config.voices import JudgeConfig
from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.review.budget import Budget
from apportion.review.check import Case, measure_cases, task_cases
from apportion.review.llm import LlmReviewer
from apportion.review.llm_options import LlmOptions, parameters_of
from apportion.review.llm_prompt import AnswerForm, load_prompt, render
from apportion.review.local_model import LOCAL, LocalModel, chat_ids
from apportion.review.report import ReviewerReport
from apportion.tasks import Task
from apportion.trace import StepVerdict
from apportion.train.supervised import Row, fit

_FORMS: tuple[AnswerForm, ...] = ("steps", "wrong")
# For a policy without a chat template: its messages, one after the other.
_PLAIN_CHAT = "{% for message in messages %}{{ message.content }}\n{% endfor %}"


def train_judge(
    policy: LanguageModelPolicy,
    task: Task,
    options: JudgeConfig,
    *,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Learn the true verdicts on the errors that the task plants in training problems. See
    :func:`make_chat` for a policy that is no chat model.

    Raises UserError: a prompt whose answer is neither ``steps`` nor ``wrong``, a task that plants
    no errors.
    """
    make_chat(policy)
    rows = judge_rows(policy, task, options, seed)
    random.Random(seed).shuffle(rows)
    fit(
        policy.model,
        policy.tokenizer,
        rows,
        updates=options.updates,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        seed=seed,
        say=say,
        say_every=max(1, min(100, options.updates // 10)),
    )


def make_chat(policy: LanguageModelPolicy) -> None:
    """Give a policy without a chat template one that writes the messages one after the other, so
    that it can be asked, and served."""
    if not policy.chat:
        policy.tokenizer.chat_template = _PLAIN_CHAT
        policy.chat = True


def judge_rows(
    policy: LanguageModelPolicy, task: Task, options: JudgeConfig, seed: int
) -> list[Row]:
    """One row for each planted chain whose every step has a known truth."""
    prompt = load_prompt(options.prompt)
    if prompt.answer not in _FORMS:
        raise UserError(
            f"judge.prompt '{prompt.name}' asks for an answer of the form {prompt.answer}: the "
            f"truth is known in the forms {' and '.join(_FORMS)}"
        )
    cases = task_cases(task, problems=options.problems, split="train", seed=seed)
    known = [case for case in cases if not any(verdict.abstains for verdict in case.truth)]
    if not known:
        raise UserError(f"task {task.name} plants no errors, so there is nothing to learn from")
    return [
        Row(_asked(policy, case, options), _told(policy, prompt.answer, case.truth))
        for case in known
    ]


def measure_judge(
    policy: LanguageModelPolicy, task: Task, options: JudgeConfig, seed: int
) -> ReviewerReport:
    """The judge on the errors planted in ``held_out`` validation problems."""
    asking = LlmOptions(
        base_url=LOCAL,
        model=policy.name,
        prompt=options.prompt,
        show_outcome=options.show_outcome,
        structured=False,
        max_tokens=options.max_tokens,
    )
    model = LocalModel(model=policy, parameters=parameters_of(asking), budget=Budget(), price=None)
    reviewer = LlmReviewer(asking, endpoint=model)
    cases = task_cases(task, problems=options.held_out, split="validation", seed=seed)
    return measure_cases(reviewer, cases, seed=seed).report


def answer_text(form: AnswerForm, truth: Sequence[StepVerdict]) -> str:
    """What a perfect judge says of these steps: the least that the form asks for."""
    if form == "wrong":
        return json.dumps({"wrong_steps": [i for i, verdict in enumerate(truth) if verdict.wrong]})
    steps = [{"step": i, "label": verdict.label} for i, verdict in enumerate(truth)]
    return json.dumps({"steps": steps})


def _asked(policy: LanguageModelPolicy, case: Case, options: JudgeConfig) -> list[int]:
    messages = render(
        load_prompt(options.prompt),
        case.item.problem,
        case.item.text,
        case.steps,
        outcome=case.item.outcome,
        show_outcome=options.show_outcome,
        show_reference=False,
        critique=0,
    )
    return chat_ids(policy, messages)


def _told(policy: LanguageModelPolicy, form: AnswerForm, truth: Sequence[StepVerdict]) -> list[int]:
    text = answer_text(form, truth)
    ids = policy.tokenizer(text, add_special_tokens=False)["input_ids"]
    return [*ids, policy.tokenizer.eos_token_id]
