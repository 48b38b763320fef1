"""Problems with their gold solutions, as token ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from apportion.errors import UserError
from apportion.policies.latent.policy import LatentPolicy
from apportion.tasks import Task
from apportion.tasks.lines import ANSWER_MARK, line_steps
from apportion.trace import Problem


class Example(NamedTuple):
    """Token ids of a question and of its answer, end of text included. ``steps`` are the written
    steps, ``mark`` how many tokens of the answer come before its value (``####``)."""

    question: list[int]
    answer: list[int]
    steps: tuple[list[int], ...] = ()
    mark: int = 0
    problem: Problem | None = None

    @property
    def text(self) -> list[int]:
        """All written steps."""
        return [token for step in self.steps for token in step]


class Target(NamedTuple):
    """What is learned of an example in one update: ``answer`` after ``latents`` latent steps."""

    question: list[int]
    answer: list[int]
    latents: int
    example: Example


def examples_of(
    policy: LatentPolicy,
    task: Task,
    problems: Sequence[Problem],
    positions: Callable[[Example], int] | None = None,
) -> list[Example]:
    """Questions with the gold solutions: the answer is what comes after their reasoning.

    ``positions`` says how much of the context an example takes (default: question, the model's
    latent steps and answer). Raises UserError for a problem without gold solution or answer, or
    too long for the context.
    """
    context = getattr(policy.model.config, "max_position_embeddings", None)
    found = []
    for problem in problems:
        gold = task.gold_completion(problem)
        end = task.reasoning_end(gold) if gold is not None else 0
        answer = gold[end:] if gold is not None else ""
        if gold is None or not answer:
            raise UserError(f"task {task.name}: problem {problem.id} has no gold answer to learn")
        steps = tuple(_ids(policy, step.text(gold)) for step in line_steps(gold, end))
        ids, mark = _ids(policy, answer), _ids(policy, ANSWER_MARK)
        marked = len(mark) if ids[: len(mark)] == mark else 0
        ids.append(policy.tokenizer.eos_token_id)
        example = Example(policy.prompt_ids(problem), ids, steps, marked, problem)
        length = (
            positions(example)
            if positions
            else len(example.question) + policy.model.steps + len(example.answer)
        )
        if context and length > context:
            raise UserError(
                f"problem {problem.id}: question, {policy.model.steps} latent steps and answer "
                f"take {length} positions of {context}: lower latent.steps or shorten it"
            )
        found.append(example)
    return found


def _ids(policy: Any, text: str) -> list[int]:
    return list(policy.tokenizer(text, add_special_tokens=False)["input_ids"])
