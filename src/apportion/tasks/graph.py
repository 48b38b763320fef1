"""Is X a Y or a Z? Questions whose answer lies at the end of a path through a graph.

Like ProsQA (Coconut, arXiv 2412.06769), whose files load as they are: JSON lists of rows with
``question``, ``steps`` and ``answer``. Without a file, questions are drawn.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from apportion.errors import UserError
from apportion.tasks.answers import after_mark
from apportion.tasks.base import Planted, Split, TaskOptions, check_split, complaints_of
from apportion.tasks.graph_draw import Style, draw, largest_dead_ends, row_of
from apportion.tasks.lines import join_lines, reasoning_end
from apportion.tasks.made import check_range, split_by_hash
from apportion.tasks.numbers import parse_number, same_number
from apportion.tasks.stable import stable_hash
from apportion.trace import Problem

_SPLIT_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("validation", "valid"),
    "test": ("test",),
}
Row = dict[str, Any]


class GraphOptions(TaskOptions):
    """``hops`` is [lowest, highest] length of the path and ``dead_ends`` how many wrong turns each
    of the two trees has. ``style`` "sentences" writes "Every dab is a vusk.", "arrows" d>v.

    ``path`` reads rows instead: a .json file, which is split 60/20/20 by a hash of the question, or
    a folder with files whose names end in train, valid (or validation) and test.
    """

    hops: tuple[int, int] = (3, 5)
    dead_ends: int = Field(default=4, ge=0, le=60)
    style: Style = "sentences"
    path: Path | None = None

    @field_validator("hops")
    @classmethod
    def _range(cls, value: tuple[int, int]) -> tuple[int, int]:
        return check_range(value, 1, 12)

    @model_validator(mode="after")
    def _enough_names(self) -> Self:
        room = largest_dead_ends(self.hops[1], self.style)
        if self.dead_ends > room:
            raise ValueError(
                f"dead_ends: style {self.style} has names for {max(0, room)} dead ends at "
                f"{self.hops[1]} hops, not for {self.dead_ends}"
            )
        return self


class Graph:
    """The task ``graph``; options in :class:`GraphOptions`."""

    name = "graph"

    def __init__(self, options: GraphOptions | None = None) -> None:
        self.options = options or GraphOptions()

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """No question occurs in two splits. Of a file, ``train`` repeats its rows in a new order
        when more are asked for than there are. Raises UserError for an unknown split, or one for
        which the file has no rows."""
        check_split(split)
        if self.options.path is None:
            return [self._draw(split, index, seed) for index in range(n)]
        rows = self._rows[split]
        if not rows:
            raise UserError(f"task graph: {self.options.path} has no rows for split '{split}'")
        order: list[int] = []
        while len(order) < n and (split == "train" or not order):
            epoch = list(range(len(rows)))
            random.Random(stable_hash(f"graph {seed} {split} {len(order)}")).shuffle(epoch)
            order += epoch
        return [problem_of(rows[i], f"graph-{split}-{i}") for i in order[:n]]

    def score(self, problem: Problem, text: str) -> float | None:
        """1.0 where the first ``####`` line says the gold answer; case, blanks and a last full stop
        do not count, and numbers are compared as numbers."""
        if not problem.answers:
            return None
        line = (after_mark(text) or "").split("\n", 1)[0]
        gold = problem.answers[0]
        numbers = parse_number(gold), parse_number(line)
        if numbers[0] is not None and numbers[1] is not None:
            return float(same_number(numbers[0], numbers[1]))
        return float(_normal(line) == _normal(gold))

    reasoning_end = staticmethod(reasoning_end)

    def gold_completion(self, problem: Problem) -> str | None:
        """One hop a line."""
        if not problem.answers:
            return None
        return join_lines(list(problem.meta.get("chain", ())), problem.answers[0])

    def corruptions(self, problem: Problem, seed: int) -> list[Planted]:
        """None: no reviewer here follows edges."""
        return []

    def validate(self, n: int) -> list[str]:
        """Beside the answers: of the two that a question names, only gold can be reached."""
        reached = [
            f"{p.id}: {complaint}"
            for p in self.problems("test", n, seed=0)
            if (complaint := _unreachable(p.meta.get("graph")))
        ]
        return complaints_of(self, n, _other_answer) + reached

    def _draw(self, split: Split, index: int, seed: int) -> Problem:
        options = self.options
        rng = random.Random(stable_hash(f"graph {seed} {split} {index}"))
        hops = rng.randint(*options.hops)
        while True:
            row = row_of(draw(hops, options.dead_ends, options.style, rng), rng.random() < 0.5)
            if split_by_hash(row["question"]) == split:
                return problem_of(row, f"graph-{split}-{seed}-{index}")

    @cached_property
    def _rows(self) -> dict[Split, list[Row]]:
        path = self.options.path
        assert path is not None
        found: dict[Split, list[Row]] = {"train": [], "validation": [], "test": []}
        if path.is_dir():
            for split, names in _SPLIT_NAMES.items():
                for file in sorted(path.glob("*.json")):
                    if file.stem.endswith(names):
                        found[split] += read_rows(file)
            if not any(found.values()):
                raise UserError(
                    f"{path}: holds no .json file whose name ends in train, valid or test"
                )
            return found
        for row in read_rows(path):
            found[split_by_hash(_normal(str(row["question"])))].append(row)
        return found


def read_rows(file: Path) -> list[Row]:
    """The rows of one file of Coconut's data. Raises UserError, with the row, where it is none."""
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file}: cannot read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{file}: not JSON: {error}") from None
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{file}: expected a list of rows, as in Coconut's data/prosqa_train.json")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise UserError(f"{file}: row {number} is no object")
        for key, kind in (("question", str), ("answer", str), ("steps", list)):
            if not isinstance(row.get(key), kind):
                what = {str: "text", list: "a list of texts"}[kind]
                raise UserError(f"{file}: row {number}: '{key}' must be {what}")
    return rows


def write_rows(file: Path, problems: Sequence[Problem]) -> None:
    """Write problems of this task, drawn or read, as a file that Coconut's code reads."""
    rows = [
        {"question": p.prompt.strip(), "answer": p.answers[0], "steps": list(p.meta["chain"])}
        | (p.meta.get("graph") or {})
        for p in problems
    ]
    file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def problem_of(row: Row, name: str) -> Problem:
    """``meta``: ``chain`` the steps, ``hops`` their number, ``values`` what each arrives at, and
    ``graph`` the rest of the row, where there is one."""
    steps = [str(step) for step in row["steps"]]
    answer = row["answer"].strip()
    rest = {k: v for k, v in row.items() if k not in ("question", "answer", "steps")}
    return Problem(
        id=name,
        prompt=row["question"].strip() + "\n",
        answers=(answer,) if answer else (),
        meta={
            "chain": steps,
            "hops": len(steps),
            "values": [_arrives_at(step) for step in steps],
            "graph": rest or None,
        },
    )


def _arrives_at(step: str) -> str:
    return step.rstrip(". >").replace(">", " ").split(" ")[-1]


def _normal(text: str) -> str:
    return " ".join(text.lower().split()).rstrip(".")


def _other_answer(problem: Problem) -> str | None:
    graph = problem.meta.get("graph")
    if not graph or "neg_target" not in graph:
        return f"#### not {problem.answers[0]}"
    names = graph["idx_to_symbol"]
    right, wrong = names[graph["target"]], names[graph["neg_target"]]
    return f"#### {problem.answers[0].replace(right, wrong)}"


def _unreachable(graph: Row | None) -> str | None:
    """What is wrong with the graph of a problem; None where nothing is, or where it is unknown."""
    if not graph or not {"edges", "root", "target", "neg_target"} <= graph.keys():
        return None
    after: dict[int, list[int]] = defaultdict(list)
    for a, b in graph["edges"]:
        after[a].append(b)
    seen, waiting = {graph["root"]}, [graph["root"]]
    while waiting:
        fresh = [node for node in after[waiting.pop()] if node not in seen]
        seen.update(fresh)
        waiting += fresh
    if graph["target"] not in seen:
        return "the gold answer cannot be reached"
    return "the other answer can be reached too" if graph["neg_target"] in seen else None
