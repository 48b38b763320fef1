"""Policies made of a rule: it is known how they use their chain."""

from __future__ import annotations

import re
from collections.abc import Callable

from apportion.trace import Problem, Rollout

NUMBER = re.compile(r"-?\d+")


class RulePolicy:
    """Writes the gold chain from where the prefix stops; ``answer(problem, chain)`` is its answer
    after a chain. No probabilities."""

    name = "rule"

    def __init__(self, answer: Callable[[Problem, str], str]) -> None:
        self.answer = answer

    def sample(self, problems, **_):
        raise NotImplementedError

    def continue_texts(self, prefixes, *, n, temperature, max_tokens, seed):
        return [[self._rest(p.problem, p.text)] * n for p in prefixes]

    def _rest(self, problem: Problem, text: str) -> str:
        if text.endswith("####"):
            return " " + self.answer(problem, text.removesuffix("####"))
        done = text.count("\n")
        value = int(NUMBER.findall(text)[-1]) if done else None
        lines = []
        for step in problem.meta["steps"][done:]:
            left, op, right = step["expression"].split()
            left = left if value is None else str(value)
            value = int(left) + int(right) if op == "+" else int(left) - int(right)
            lines.append(f"so {left} {op} {right} = {value}\n")
        chain = "".join(lines)
        return f"{chain}#### {self.answer(problem, text + chain)}"


def last_number(problem: Problem, chain: str) -> str:
    """Uses its chain: the answer is the last number that it states."""
    found = NUMBER.findall(chain)
    return found[-1] if found else "0"


def knows(problem: Problem, chain: str) -> str:
    """Ignores its chain."""
    return problem.answers[0]


def takes_hint(problem: Problem, chain: str) -> str:
    """Takes an answer that stands before the question, and says nothing."""
    before, _, _ = problem.prompt.rstrip().rpartition("\n")
    found = NUMBER.findall(before)
    return (found[0] if "score" in before else found[-1]) if found else last_number(problem, chain)


def gold_rollouts(task, n: int) -> list[Rollout]:
    rollouts = []
    for problem in task.problems("test", n, 0):
        text = task.gold_completion(problem)
        rollouts.append(
            Rollout(
                id=f"{problem.id}/0",
                problem=problem,
                text=text,
                outcome=1.0,
                reasoning_end=task.reasoning_end(text),
                finish="stop",
            )
        )
    return rollouts
