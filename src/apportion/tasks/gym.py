"""Any data set of reasoning-gym by name, and ``gsm_symbolic``."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from pydantic import Field, field_validator

from apportion.errors import UserError, nearest
from apportion.tasks.answers import TIME_LIMIT, after_mark, extract_answer
from apportion.tasks.base import Planted, Split, TaskOptions, check_split
from apportion.tasks.gsm8k import INSTRUCTION
from apportion.tasks.gym_worked import worked_solution
from apportion.tasks.lines import reasoning_end
from apportion.tasks.numbers import parse_number, same_number
from apportion.tasks.stable import stable_hash
from apportion.tasks.words_errors import plant
from apportion.tasks.worker import Late, shared_worker
from apportion.trace import Problem

ANY_INSTRUCTION = (
    "Reason step by step, one step per line. Then write the final answer and nothing else "
    "after ####"
)
# Its own verifier reads the first run of digits, so it takes -5 for 5 and 1,234 for 1.
_NUMERIC = frozenset({"gsm_symbolic"})


class GymOptions(TaskOptions):
    """``name`` of the data set, ``options`` of its configuration.

    ``size`` is how many problems each split has. ``threshold``: many verifiers give a wrong
    answer a little above 0, and some give part of the points; a completion scores 1.0 from this
    verifier score on, else 0.0.
    """

    name: str
    size: int = Field(default=10_000, ge=1)
    options: dict[str, Any] = Field(default_factory=dict)
    threshold: float = Field(default=1.0, gt=0.0, le=1.0)
    instruction: str | None = None
    time_limit: float = Field(default=TIME_LIMIT, gt=0)

    @field_validator("options")
    @classmethod
    def _ours(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in ("seed", "size"):
            if name in value:
                raise ValueError(f"'{name}' is not set here: it follows from the split and seed")
        return value


class GsmSymbolicOptions(TaskOptions):
    """``difficulty`` as in reasoning-gym: 1.0 is the plain one."""

    difficulty: float = Field(default=1.0, gt=0)
    size: int = Field(default=10_000, ge=1)
    instruction: str | None = None

    def as_gym(self) -> GymOptions:
        return GymOptions(
            name="gsm_symbolic",
            size=self.size,
            options={"difficulty": self.difficulty},
            instruction=self.instruction,
        )


class Gym:
    """The tasks ``gym`` and ``gsm_symbolic``.

    The splits draw from generators with different seeds; a small data set can still repeat a
    problem across them. The answer is all that follows ``####`` (it may have several lines).
    Where a data set has no reference answer, ``answers`` is empty and its verifier alone decides;
    where it has no verifier either, the score is None.

    Raises:
        UserError: reasoning-gym is missing, knows no such data set, or refuses its options.
    """

    def __init__(self, options: GymOptions) -> None:
        self.options = options
        self.name = options.name if options.name in _NUMERIC else f"gym:{options.name}"
        self._config = json.dumps(options.options, sort_keys=True)
        self._datasets: dict[int, Any] = {}
        self._dataset(0)

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Raises UserError for an unknown split or more problems than ``size``."""
        check_split(split)
        if n > self.options.size:
            raise UserError(
                f"task {self.name}: {n} problems asked for but size is {self.options.size}: "
                "raise size"
            )
        gym_seed = stable_hash(f"gym {self.options.name} {split} {seed}") % 2**31
        dataset = self._dataset(gym_seed)
        return [
            self._problem(dataset[i], f"{self.name}-{split}-{seed}-{i}", gym_seed, i)
            for i in range(n)
        ]

    def _problem(self, entry: dict[str, Any], name: str, seed: int, index: int) -> Problem:
        instruction = self.options.instruction
        if instruction is None:
            instruction = INSTRUCTION if self.options.name in _NUMERIC else ANY_INSTRUCTION
        question, answer = entry["question"], entry["answer"]
        meta: dict[str, Any] = {"question": question, "gym_seed": seed, "gym_index": index}
        if "answer_cot" in entry["metadata"]:
            meta["solution"] = entry["metadata"]["answer_cot"]
        steps = worked_solution(self.options.name, entry["metadata"])
        if steps:
            meta |= {
                "solution": "\n".join(step["text"] for step in steps),
                "steps": steps,
                "edges": [[i, j] for j, step in enumerate(steps) for i in step["uses"]],
                "distractors": [],
                "operations": len(steps),
            }
        return Problem(
            id=name,
            prompt=f"{question}\n{instruction}\n" if instruction else f"{question}\n",
            answers=(str(answer),) if answer is not None else (),
            meta=meta,
        )

    def score(self, problem: Problem, text: str) -> float | None:
        """1.0 for the reference answer, or where the verifier gives ``threshold`` or more.

        The verifier runs in a worker process; one that takes too long has not accepted.
        """
        if self.options.name in _NUMERIC:
            return _score_number(problem, text)
        if not problem.answers and not self._verifies():
            return None
        answer = after_mark(text)
        if answer is None:
            return 0.0
        if answer in problem.answers:
            return 1.0
        request = {
            "do": "gym",
            "name": self.options.name,
            "seed": problem.meta["gym_seed"],
            "size": self.options.size,
            "options": self._config,
            "index": problem.meta["gym_index"],
            "answer": answer,
        }
        reply = shared_worker().ask(request, self.options.time_limit)
        return float(reply is not Late and reply >= self.options.threshold)

    reasoning_end = staticmethod(reasoning_end)

    def gold_completion(self, problem: Problem) -> str | None:
        """The published or worked chain of thought where there is one, else only the answer."""
        if not problem.answers:
            return None
        mark = f"#### {problem.answers[0]}"
        if steps := problem.meta.get("steps"):
            return "\n".join([*(step["text"] for step in steps), mark])
        solution = str(problem.meta.get("solution", "")).rsplit("####", 1)[0].strip()
        return f"{solution}\n{mark}" if solution else mark

    def corruptions(self, problem: Problem, seed: int) -> list[Planted]:
        """One of each kind where the steps are known and stay whole and positive, else none."""
        steps = problem.meta.get("steps", [])
        return plant(problem, seed) if steps and all(s["result"] > 0 for s in steps) else []

    def validate(self, n: int) -> list[str]:
        """Gold scores 1; nonsense, nothing, and another problem's answer score 0."""
        complaints: list[str] = []
        problems = self.problems("test", min(n, self.options.size), seed=0)
        others = [answer for problem in problems for answer in problem.answers]
        for problem in problems:
            gold = self.gold_completion(problem)
            if gold is not None and self.score(problem, gold) != 1.0:
                complaints.append(f"{problem.id}: gold scores {self.score(problem, gold)}")
            # Another answer can be right too where several are, so only numbers are tried.
            if self.options.name in _NUMERIC:
                wrong = next((o for o in others if o not in problem.answers), None)
                if wrong is not None and self.score(problem, f"#### {wrong}") != 0.0:
                    complaints.append(f"{problem.id}: the wrong answer {wrong} does not score 0")
            complaints.extend(
                f"{problem.id}: the wrong completion {text!r} scores above 0"
                for text in ("", "#### ", "#### zzz")
                if self.score(problem, text) not in (0.0, None)
            )
        return complaints

    def _verifies(self) -> bool:
        """Whether the data set brings a verifier of its own, not only text comparison."""
        from reasoning_gym.dataset import ProceduralDataset

        own = getattr(type(self._dataset(0)), "score_answer", None)
        return own is not ProceduralDataset.score_answer

    def _dataset(self, seed: int) -> Any:
        if seed not in self._datasets:
            self._datasets[seed] = _create(self.options, seed)
        return self._datasets[seed]


def _score_number(problem: Problem, text: str) -> float | None:
    gold = parse_number(problem.answers[0]) if problem.answers else None
    if gold is None:
        return None
    answer = extract_answer(text)
    number = parse_number(answer) if answer is not None else None
    return float(number is not None and same_number(gold, number))


def _create(options: GymOptions, seed: int) -> Any:
    try:
        import reasoning_gym
        from reasoning_gym.factory import DATASETS
    except ImportError:
        raise UserError(
            f"task {options.name}: needs reasoning-gym: pip install 'apportion[gym]'"
        ) from None
    if options.name not in DATASETS:
        close = nearest(options.name, list(DATASETS))
        raise UserError(f"reasoning-gym has no data set '{options.name}'{close}")
    config = DATASETS[options.name][1]
    known = [field.name for field in dataclasses.fields(config)]
    for name in options.options:
        if name not in known:
            raise UserError(
                f"data set {options.name}: unknown option '{name}'{nearest(name, known)}; "
                f"it takes {', '.join(k for k in known if k not in ('seed', 'size'))}"
            )
    try:
        return reasoning_gym.create_dataset(
            options.name, seed=seed, size=options.size, **options.options
        )
    except (AssertionError, ValueError, TypeError) as error:
        raise UserError(
            f"data set {options.name}: refuses options {options.options}: "
            f"{str(error) or 'a value is outside what the set supports'}"
        ) from None
