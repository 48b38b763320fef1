"""Data sets of good answers only: several references a question, and nobody who grades.

What a policy learned is measured by how likely it finds references that it has not seen
(``eval.answer_logprob``).
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field

from apportion.errors import UserError
from apportion.tasks.base import SPLITS, Planted, Split, TaskOptions, check_split
from apportion.tasks.lines import join_lines, reasoning_end
from apportion.tasks.rows import Row, in_splits, read_hub, read_path, rename_columns
from apportion.tasks.stable import stable_hash
from apportion.trace import Problem

SHIPPED = Path(__file__).parent / "data" / "verses.jsonl"
# Three fifths to learn from: a small file has to leave enough to measure with.
_SHARES: tuple[Split, ...] = ("train", "train", "train", "validation", "test")


class InexactOptions(TaskOptions):
    """Where the rows are and how they are asked.

    ``path`` (a .jsonl or .csv file, or a folder with train/validation/test files) goes before
    ``hub`` (a data set id); with neither, the shipped lines of verse and puns. A row holds
    ``prompt`` and ``answers``, a list, or ``answer``, one of them; rows with the same prompt put
    their references together. ``map`` renames columns. ``instruction`` is put after the prompt.
    """

    path: Path | None = None
    hub: str | None = None
    config: str | None = None
    map: dict[str, str] = Field(default_factory=dict)
    instruction: str = ""


class Inexact:
    """The task ``inexact``; options in :class:`InexactOptions`.

    There is no grader: ``score`` is None for every completion. A single file is split 60/20/20 by
    a hash of the prompt; where a source has train but no validation split, a tenth of train is set
    aside. ``train`` repeats its rows in a new order when more are asked for than there are, each
    time with the next reference first; validation and test never repeat.
    """

    name = "inexact"
    graded = False

    def __init__(self, options: InexactOptions | None = None) -> None:
        self.options = options or InexactOptions()

    @cached_property
    def rows(self) -> dict[str, list[Row]]:
        """Rows by split, ``answer`` a tuple of references. Raises UserError where they cannot be
        read or a row has no reference or an empty one."""
        options = self.options
        if options.path is None and options.hub is not None:
            where, found = options.hub, read_hub(options.hub, options.config)
        else:
            path = options.path or SHIPPED
            where, found = str(path), read_path(path)
        return in_splits(
            {
                split: _merged(
                    rename_columns(rows, self._columns(rows[0]), f"{where} {split}".strip()),
                    f"{where} {split}".strip(),
                )
                for split, rows in found.items()
            },
            _SHARES,
        )

    def _columns(self, row: Row) -> dict[str, str]:
        columns, taken = dict(self.options.map), set(self.options.map.values())
        for theirs, ours in (("answers", "answer"), ("question", "prompt")):
            if theirs in row and ours not in row and theirs not in columns and ours not in taken:
                columns[theirs] = ours
        return columns

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Raises UserError for an unknown split, or one that the source lacks."""
        check_split(split)
        rows = self.rows.get(split)
        if not rows:
            known = [name for name, found in self.rows.items() if name and found]
            raise UserError(
                f"task inexact: the source has no rows for split '{split}', only for "
                f"{', '.join(known)}"
            )
        found: list[Problem] = []
        epoch = 0
        while len(found) < n and (split == "train" or not epoch):
            order = list(range(len(rows)))
            random.Random(stable_hash(f"inexact {seed} {split} {epoch}")).shuffle(order)
            found += [self._problem(split, index, rows[index], epoch) for index in order]
            epoch += 1
        return found[:n]

    def _problem(self, split: str, index: int, row: Row, epoch: int) -> Problem:
        answers = row["answer"]
        first = epoch % len(answers)
        instruction = f"\n{self.options.instruction}" if self.options.instruction else ""
        return Problem(
            id=str(row.get("id") or f"inexact-{split}-{index}"),
            prompt=f"{row['prompt']}{instruction}\n",
            answers=answers[first:] + answers[:first],
            meta={k: v for k, v in row.items() if k not in ("prompt", "answer", "id")},
        )

    def score(self, problem: Problem, text: str) -> float | None:
        """None: nobody can tell."""
        return None

    reasoning_end = staticmethod(reasoning_end)

    def gold_completion(self, problem: Problem) -> str | None:
        """The first reference, without any reasoning."""
        return join_lines([], problem.answers[0]) if problem.answers else None

    def corruptions(self, problem: Problem, seed: int) -> list[Planted]:
        return []

    def validate(self, n: int) -> list[str]:
        """No prompt stands in two splits, and references are told from reasoning."""
        complaints: list[str] = []
        split_of_prompt: dict[str, str] = {}
        for split in SPLITS:
            for row in self.rows.get(split, []):
                other = split_of_prompt.setdefault(row["prompt"], split)
                if other != split:
                    complaints.append(f"{row['prompt']!r} is in {other} and in {split}")
        for problem in self.problems("test", n, seed=0):
            gold = self.gold_completion(problem) or ""
            if self.reasoning_end(gold) != 0:
                complaints.append(f"{problem.id}: its reference holds </think>")
        return complaints


def _merged(rows: Sequence[Row], where: str) -> list[Row]:
    """One row a prompt, with each of its references once and in order."""
    merged: dict[str, Row] = {}
    for number, row in enumerate(rows, start=1):
        prompt = str(row["prompt"]).strip()
        references = _references(row["answer"], f"{where}: row {number}")
        before = merged.setdefault(prompt, row | {"prompt": prompt, "answer": ()})
        before["answer"] = tuple(dict.fromkeys((*before["answer"], *references)))
    return list(merged.values())


def _references(given: Any, where: str) -> tuple[str, ...]:
    items = given if isinstance(given, list | tuple) else [given]
    if not items:
        raise UserError(f"{where} has no reference answer: add one, or take the row out")
    found = []
    for item in items:
        if isinstance(item, bool) or not isinstance(item, str | int | float | None):
            raise UserError(f"{where}: a reference answer is text, not {type(item).__name__}")
        text = re.sub(r"\s+", " ", str(item)).strip() if item is not None else ""
        if not text:
            raise UserError(f"{where}: a reference answer is empty: take it out of the data")
        found.append(text)
    return tuple(found)
