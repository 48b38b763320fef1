"""Dataset rows to problems, with the column names that TRL users have."""

from __future__ import annotations

from typing import Any

from apportion.trace import Problem

_ANSWER_COLUMNS = ("answer", "answers", "solution", "ground_truth")


def row_of_problem(problem: Problem, prompt: str | list[dict[str, str]]) -> dict[str, Any]:
    """A dataset row that carries the whole problem along."""
    return {"prompt": prompt, "problem": problem.model_dump_json()}


def problem_of_row(row: dict[str, Any]) -> Problem:
    """The problem of a row: its ``problem`` column, or one made of prompt, answer and id."""
    if "problem" in row:
        return Problem.model_validate_json(row["problem"])
    prompt = row["prompt"]
    if not isinstance(prompt, str):
        prompt = "\n".join(str(message.get("content", "")) for message in prompt)
    answer = next((row[column] for column in _ANSWER_COLUMNS if row.get(column) is not None), ())
    answers = answer if isinstance(answer, list | tuple) else (answer,)
    return Problem(
        id=str(row.get("id", prompt)), prompt=prompt, answers=tuple(str(a) for a in answers)
    )
