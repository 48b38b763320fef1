"""Trains a policy to judge: chains with planted errors in, verdicts as JSON out.

What comes out is an ordinary chat model that the reviewer ``llm`` understands, in this process
(``base_url: local``) or behind any server of the OpenAI protocol.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from apportion.config.voices import JudgeConfig
from apportion.errors import UserError, nearest
from apportion.policies.language_model import LanguageModelPolicy
from apportion.review.budget import Budget
from apportion.review.check import Case, measure_cases, task_cases
from apportion.review.injections import Answer, Place, injected, shipped_injections
from apportion.review.llm import LlmReviewer
from apportion.review.llm_options import LlmOptions, parameters_of
from apportion.review.llm_prompt import AnswerForm, load_prompt, render
from apportion.review.local_model import LOCAL, LocalModel, chat_ids
from apportion.review.report import ReviewerReport
from apportion.segment import segment
from apportion.tasks import Task
from apportion.trace import Step, StepVerdict
from apportion.train.supervised import Row, fit

_FORMS: tuple[AnswerForm, ...] = ("steps", "wrong", "whole")
# Of what a judge reads and writes over and over. A tokenizer that was trained on sums would spell
# them out.
_PHRASES = (
    "===== BEGIN PROBLEM ",
    "===== END PROBLEM ",
    "===== BEGIN SOLUTION ",
    "===== END SOLUTION ",
    " =====",
    "[final answer] ",
    '{"steps": [{"step": ',
    '"}, {"step": ',
    ', "reason": "',
    '", "label": "',
    ', "label": "',
    "useful",
    "irrelevant",
    "harmful",
    '"}]}',
    '{"wrong_steps": [',
    '{"analysis": "',
    '", "right": ',
    '{"right": ',
    "true}",
    "false}",
)
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

    Raises UserError: a prompt whose answer is none of ``steps``, ``wrong`` and ``whole``, a task
    that plants no errors.
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
    that it can be asked, and served; and each phrase of the questions and answers a token."""
    if policy.chat:
        return
    policy.tokenizer.chat_template = _PLAIN_CHAT
    policy.chat = True
    policy.tokenizer.add_tokens(list(_PHRASES))
    policy.model.resize_token_embeddings(len(policy.tokenizer))


def judge_rows(
    policy: LanguageModelPolicy, task: Task, options: JudgeConfig, seed: int
) -> list[Row]:
    """One row for each planted chain whose truth is known: of every step, or of the answer."""
    prompt = load_prompt(options.prompt)
    if prompt.answer not in _FORMS:
        raise UserError(
            f"judge.prompt '{prompt.name}' asks for an answer of the form {prompt.answer}: the "
            f"truth is known in the forms {', '.join(_FORMS)}"
        )
    if options.reasons and prompt.answer == "wrong":
        raise UserError(
            f"judge.reasons: an answer of the form wrong (judge.prompt '{prompt.name}') is a list "
            "of numbers: use a prompt of the form steps or whole"
        )
    cases = task_cases(task, problems=options.problems, split="train", seed=seed)
    known = [case for case in cases if _is_known(prompt.answer, case)]
    if not known:
        raise UserError(f"task {task.name} plants no errors, so there is nothing to learn from")
    if options.injections:
        known = _with_injections(known, prompt.answer, options.injections, seed)
    solves = options.reasons and prompt.answer == "whole"
    rows = []
    for case in known:
        solution = _solution(task, case) if solves else None
        told = answer_text(prompt.answer, case, reasons=options.reasons, solution=solution)
        ids = policy.tokenizer(told, add_special_tokens=False)["input_ids"]
        rows.append(Row(_asked(policy, case, options), [*ids, policy.tokenizer.eos_token_id]))
    return rows


def _solution(task: Task, case: Case) -> str:
    solution = task.gold_completion(case.item.problem)
    if solution is None:
        raise UserError(f"judge.reasons: task {task.name} has no solutions that could be learned")
    return solution


def _is_known(form: AnswerForm, case: Case) -> bool:
    if form == "whole":
        return case.item.outcome is not None
    return not any(verdict.abstains for verdict in case.truth)


def _with_injections(
    cases: Sequence[Case], form: AnswerForm, names: Sequence[str], seed: int
) -> list[Case]:
    """Every other case, by chance, with one of the shipped injections; the truth stays."""
    if form != "whole":
        raise UserError(
            "judge.injections: a text that is no step has no truth of its own: use a prompt that "
            "asks whether the answer is right (bare_outcome, outcome)"
        )
    texts, rng = shipped_injections(), random.Random(seed)
    for name in names:
        if name not in texts:
            raise UserError(
                f"judge.injections: no shipped injection '{name}'{nearest(name, list(texts))}; "
                f"there are {', '.join(texts)}"
            )
    changed = []
    for case in cases:
        if rng.random() < 0.5:
            place: Place = rng.choice(("reasoning", "answer"))
            answer = Answer(case.item.problem, case.item.text, case.steps[-1].end)
            _, text, end = injected(answer, texts[rng.choice(list(names))], place)
            steps = segment(text, end, "line")
            case = replace(case, item=case.item._replace(text=text, steps=steps), steps=steps)
        changed.append(case)
    return changed


def measure_judge(
    policy: LanguageModelPolicy, task: Task, options: JudgeConfig, seed: int
) -> ReviewerReport:
    """The judge on the errors planted in ``held_out`` validation problems: on their steps, or on
    their answers where the prompt asks whether the answer is right."""
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
    if load_prompt(options.prompt).answer == "whole":
        cases = [as_one_step(case) for case in cases if case.item.outcome is not None]
    return measure_cases(reviewer, cases, seed=seed).report


def as_one_step(case: Case) -> Case:
    """The case with one step, the whole reasoning, which is wrong where the answer is."""
    right = (case.item.outcome or 0.0) >= 1.0
    whole = Step(start=case.steps[0].start, end=case.steps[-1].end)
    verdict = StepVerdict(label="useful" if right else "harmful", correct=right)
    return replace(case, steps=(whole,), truth=(verdict,))


def answer_text(
    form: AnswerForm, case: Case, *, reasons: bool = False, solution: str | None = None
) -> str:
    """What a perfect judge says of the chain: the least that the form asks for.

    With ``reasons`` a step's label comes after the step as it is and as it ought to be (or what is
    said against it), so that the two stand side by side; with a ``solution`` the verdict on a whole
    answer comes after the solution and the answer.
    """
    if form == "whole":
        # Its first line: what stands below the answer is not to be repeated.
        stated = case.item.text[case.steps[-1].end :].strip().partition("\n")[0]
        analysis = {} if solution is None else {"analysis": f"{solution}\n{stated}"}
        return json.dumps({**analysis, "right": (case.item.outcome or 0.0) >= 1.0})
    if form == "wrong":
        wrong = [i for i, verdict in enumerate(case.truth) if verdict.wrong]
        return json.dumps({"wrong_steps": wrong})
    steps = []
    for i, (step, verdict) in enumerate(zip(case.steps, case.truth, strict=True)):
        written = step.text(case.item.text).strip()
        ought = verdict.instead or verdict.reason or written
        reason = {"reason": f"{written}; {ought}"} if reasons else {}
        steps.append({"step": i, **reason, "label": verdict.label})
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
