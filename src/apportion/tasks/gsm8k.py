"""GSM8K, and any file of questions with a final answer."""

from __future__ import annotations

import os
import random
from functools import cached_property
from pathlib import Path

from pydantic import Field, field_validator

from apportion.errors import UserError, nearest
from apportion.tasks.answers import TIME_LIMIT, extract_answer, same_answer
from apportion.tasks.base import Planted, Split, TaskOptions, check_split, complaints_of
from apportion.tasks.lines import join_lines, reasoning_end
from apportion.tasks.numbers import parse_number
from apportion.tasks.plant import plant_in_annotated
from apportion.tasks.rows import Row, in_splits, read_hub, read_path, rename_columns
from apportion.tasks.stable import stable_hash
from apportion.trace import Problem

INSTRUCTION = (
    "Solve the problem step by step, one step per line. "
    "Then write the answer alone on a last line: #### ANSWER"
)
DATA_VARIABLE = "APPORTION_DATA"


class Gsm8kOptions(TaskOptions):
    """Where the rows are and how they are asked.

    ``path`` (a .jsonl or .csv file, or a folder with train/validation/test files) goes before
    ``hub`` (a data set id). With neither, the folder ``gsm8k`` under the environment variable
    APPORTION_DATA, else openai/gsm8k on the hub. ``map`` renames columns of the file to
    ``prompt`` and ``answer``. ``last_number`` also accepts an answer that is only the last number.
    """

    path: Path | None = None
    hub: str | None = None
    config: str | None = None
    map: dict[str, str] = Field(default_factory=dict)
    instruction: str = INSTRUCTION
    last_number: bool = False
    time_limit: float = Field(default=TIME_LIMIT, gt=0)

    @field_validator("map")
    @classmethod
    def _targets(cls, value: dict[str, str]) -> dict[str, str]:
        if len(set(value.values())) != len(value):
            raise ValueError("two columns get the same name")
        return value


class Gsm8k:
    """The task ``gsm8k``; options in :class:`Gsm8kOptions`.

    Gold is what follows ``####`` in ``answer``, or all of it. Where the source has no validation
    split, a tenth of train (by a hash of the question) is set aside as one; a single file is
    split 80/10/10 the same way. ``train`` repeats its rows in a new order when more are asked for
    than there are; validation and test never repeat, so they may return fewer than ``n``.
    """

    name = "gsm8k"

    def __init__(self, options: Gsm8kOptions | None = None) -> None:
        self.options = options or Gsm8kOptions()

    @cached_property
    def rows(self) -> dict[str, list[Row]]:
        """Rows by split. Raises UserError where they cannot be read."""
        where, found = self._read()
        columns = dict(self.options.map)
        first = next(iter(found.values()))[0]
        if "question" in first and "prompt" not in first and "prompt" not in columns.values():
            columns["question"] = "prompt"
        rows = {k: rename_columns(v, columns, f"{where} {k}".strip()) for k, v in found.items()}
        return in_splits(rows)

    def _read(self) -> tuple[str, dict[str, list[Row]]]:
        options = self.options
        if options.path is not None:
            return str(options.path), read_path(options.path)
        local = os.environ.get(DATA_VARIABLE)
        if options.hub is None and local and (Path(local) / "gsm8k").is_dir():
            return f"{DATA_VARIABLE}/gsm8k", read_path(Path(local) / "gsm8k")
        hub = options.hub or "openai/gsm8k"
        config = options.config or ("main" if hub == "openai/gsm8k" else None)
        return hub, read_hub(hub, config)

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Raises UserError for an unknown split, or one that the source lacks."""
        check_split(split)
        rows = self.rows.get(split)
        if not rows:
            known = [name for name, found in self.rows.items() if found]
            raise UserError(
                f"task gsm8k: the source has no rows for split '{split}', only for "
                f"{', '.join(known)}{nearest(split, known)}"
            )
        order: list[int] = []
        while len(order) < n and (split == "train" or not order):
            epoch = list(range(len(rows)))
            random.Random(stable_hash(f"gsm8k {seed} {split} {len(order)}")).shuffle(epoch)
            order.extend(epoch)
        return [self._problem(split, index, rows[index]) for index in order[:n]]

    def _problem(self, split: str, index: int, row: Row) -> Problem:
        question, solution = str(row["prompt"]).strip(), str(row["answer"]).strip()
        gold = solution.rsplit("####", 1)[-1].strip()
        others = {k: v for k, v in row.items() if k not in ("prompt", "answer", "id")}
        instruction = f"\n{self.options.instruction}" if self.options.instruction else ""
        return Problem(
            id=str(row.get("id") or f"gsm8k-{split}-{index}"),
            prompt=f"{question}{instruction}\n",
            answers=(gold,) if gold else (),
            meta={"question": question, "solution": solution} | others,
        )

    def score(self, problem: Problem, text: str) -> float | None:
        """1.0 where the answer equals any gold answer; None where no gold can be read."""
        answer = extract_answer(text, last_number=self.options.last_number)
        limit = self.options.time_limit
        verdicts = [same_answer(gold, answer, limit) for gold in problem.answers]
        decided = [verdict for verdict in verdicts if verdict is not None]
        return float(any(decided)) if decided else None

    reasoning_end = staticmethod(reasoning_end)

    def gold_completion(self, problem: Problem) -> str | None:
        """The reference solution as published, calculator annotations and all."""
        if not problem.answers:
            return None
        solution = str(problem.meta.get("solution", ""))
        if "####" in solution:
            lines = solution.rsplit("####", 1)[0].strip().split("\n")
            return join_lines([line for line in lines if line.strip()], problem.answers[0])
        return f"#### {problem.answers[0]}"

    def corruptions(self, problem: Problem, seed: int) -> list[Planted]:
        """Errors planted at the ``<<3*4=12>>`` annotations; none where there are none."""
        gold = self.gold_completion(problem)
        return plant_in_annotated(gold, seed) if gold is not None else []

    def validate(self, n: int) -> list[str]:
        return complaints_of(self, n, wrong_number)


def wrong_number(problem: Problem) -> str | None:
    """A completion with another number than the gold answer; None where gold is no number."""
    number = parse_number(problem.answers[0])
    return f"#### {number.value + 1}" if number is not None else None
