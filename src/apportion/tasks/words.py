"""School word problems that know their own dependency graph.

Train, validation and test share their words and single sentences, so that a model can carry over
what it learned, but no template (the sequence of sentences and what refers to what) and no
multiset of stated numbers occurs in two of them: both are assigned to a split by a stable hash.
"""

from __future__ import annotations

import random
import re
from fractions import Fraction
from typing import Any

from pydantic import Field, field_validator

from apportion.errors import UserError, nearest
from apportion.tasks.answers import after_mark
from apportion.tasks.base import Planted, Split, TaskOptions, check_split, complaints_of
from apportion.tasks.lines import join_lines, reasoning_end
from apportion.tasks.made import check_range, split_by_hash
from apportion.tasks.numbers import parse_number, same_number
from apportion.tasks.stable import stable_hash
from apportion.tasks.words_errors import plant
from apportion.tasks.words_numbers import Quantity, Ranges, apply, draw, evaluate
from apportion.tasks.words_plan import Plan, make_plan
from apportion.tasks.words_stories import FAMILIES
from apportion.tasks.words_templates import DISTRACTORS
from apportion.trace import Problem

_TRIES = 5000
_EQUATION = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)$")


class WordsOptions(TaskOptions):
    """``operations``, ``distractors``, ``factors`` and ``terms`` are [lowest, highest].

    ``factors`` are the numbers that multiply and divide, ``terms`` those that add and subtract,
    ``largest`` bounds every quantity.
    """

    operations: tuple[int, int] = (2, 5)
    distractors: tuple[int, int] = (0, 2)
    factors: tuple[int, int] = (2, 9)
    terms: tuple[int, int] = (2, 60)
    largest: int = Field(default=999, ge=50, le=999)
    families: tuple[str, ...] = tuple(FAMILIES)

    @field_validator("operations", "distractors", "factors", "terms")
    @classmethod
    def _ranges(cls, value: tuple[int, int], info: Any) -> tuple[int, int]:
        bounds = {"operations": (1, 8), "distractors": (0, 4), "factors": (2, 12)}
        low, high = bounds.get(info.field_name, (1, 200))
        return check_range(value, low, high)

    @field_validator("families")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError(f"name at least one of {', '.join(FAMILIES)}")
        for name in value:
            if name not in FAMILIES:
                raise ValueError(f"unknown family '{name}'{nearest(name, list(FAMILIES))}")
        return value


def numbers_key(quantities: list[Quantity]) -> str:
    """The numbers that the story states, in order of size."""
    stated = sorted(number for q in quantities for number in q.stated.values())
    return " ".join(map(str, stated))


class Words:
    """The task ``words``; options in :class:`WordsOptions`."""

    name = "words"

    def __init__(self, options: WordsOptions | None = None) -> None:
        self.options = options or WordsOptions()
        self.ranges = Ranges(self.options.factors, self.options.terms, self.options.largest)

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Raises UserError for an unknown split, or where the options leave no problem."""
        check_split(split)
        return [self._problem(split, index, seed) for index in range(n)]

    def score(self, problem: Problem, text: str) -> float | None:
        """1.0 where the first ``####`` line holds the gold number and no other."""
        if not problem.answers:
            return None
        marked = after_mark(text)
        if marked is None:
            return 0.0
        number, gold = parse_number(marked.split("\n", 1)[0]), parse_number(problem.answers[0])
        assert gold is not None
        return float(number is not None and same_number(gold, number))

    reasoning_end = staticmethod(reasoning_end)

    def gold_completion(self, problem: Problem) -> str | None:
        if "steps" not in problem.meta or not problem.answers:
            return None
        return join_lines([step["text"] for step in problem.meta["steps"]], problem.answers[0])

    def corruptions(self, problem: Problem, seed: int) -> list[Planted]:
        """One of each kind that the problem has room for; the clean one first."""
        return plant(problem, seed) if "steps" in problem.meta else []

    def validate(self, n: int) -> list[str]:
        """Also reads every written equation again, and follows its operands."""
        complaints = complaints_of(self, n, lambda problem: f"#### {int(problem.answers[0]) + 1}")
        for problem in self.problems("test", n, seed=0):
            complaints.extend(f"{problem.id}: {what}" for what in reread(problem))
        return complaints

    def _problem(self, split: Split, index: int, seed: int) -> Problem:
        rng = random.Random(stable_hash(f"words {seed} {split} {index}"))
        operations = rng.randint(*self.options.operations)
        family = rng.choice(self.options.families)
        for _ in range(_TRIES):
            plan = make_plan(family, operations, rng)
            if split_by_hash(plan.template) != split:
                continue
            for _ in range(30):
                made = draw(plan, self.ranges, rng)
                if made is not None and split_by_hash(numbers_key(made)) == split:
                    facts = self._distractors(plan, rng)
                    return _write(plan, made, facts, f"words-{split}-{seed}-{index}", rng)
        raise UserError(
            f"task words: no {split} problem found with {operations} operations in {family}: "
            "allow more families, or wider factors, terms or largest"
        )

    def _distractors(self, plan: Plan, rng: random.Random) -> list[str]:
        count = rng.randint(*self.options.distractors)
        chosen = rng.sample(DISTRACTORS, count)
        return [text.format_map(plan.words | {"x": rng.randint(2, 60)}) for text in chosen]


def _write(
    plan: Plan, made: list[Quantity], facts: list[str], name: str, rng: random.Random
) -> Problem:
    """The prompt, the gold steps and what they use."""
    sentences: list[str] = []
    steps: list[dict[str, Any]] = []
    step_of: dict[int, int] = {}
    for index, (move, quantity) in enumerate(zip(plan.moves, made, strict=True)):
        if move.phrase:
            subject = plan.words["pronoun"] if sentences else plan.words["name"]
            subjects = {"s": subject, "S": subject[0].upper() + subject[1:]}
            sentences.append(move.phrase.format_map(subjects | move.words | quantity.stated))
        if quantity.operands is None:
            continue
        op = "-" if move.kind.op == "from" else move.kind.op
        expression = f"{quantity.operands[0]} {op} {quantity.operands[1]}"
        step_of[index] = len(steps)
        steps.append(
            {
                "text": f"{move.label} {expression} = {quantity.value}",
                "expression": expression,
                "result": quantity.value,
                "uses": [step_of[source] for source in move.sources if source in step_of],
            }
        )
    for fact in facts:
        sentences.insert(rng.randint(1, len(sentences)), fact)
    answer = evaluate(made[-1].expression)
    assert answer.denominator == 1
    return Problem(
        id=name,
        prompt=" ".join([*sentences, plan.question]) + "\n",
        answers=(str(answer),),
        meta={
            "steps": steps,
            "edges": [[i, j] for j, step in enumerate(steps) for i in step["uses"]],
            "distractors": facts,
            "operations": len(steps),
            "template": plan.template,
            "numbers": numbers_key(made),
        },
    )


def reread(problem: Problem) -> list[str]:
    """Complaints about the gold steps, from their texts alone.

    Every equation must hold, every operand must come from the prompt or from a step that
    ``uses`` names, every step but the last must be used, and the last must give the answer.
    """
    complaints: list[str] = []
    steps = problem.meta["steps"]
    stated = set(re.findall(r"\d+", problem.prompt))
    results: list[str] = []
    for index, step in enumerate(steps):
        match = _EQUATION.search(step["text"])
        if match is None:
            return [*complaints, f"step {index} has no equation: {step['text']!r}"]
        left, op, right, result = match.groups()
        if apply(op, Fraction(left), Fraction(right)) != Fraction(result):
            complaints.append(f"step {index} is false: {step['text']!r}")
        known = [results[used] for used in step["uses"]]
        if any(number not in known and number not in stated for number in (left, right)):
            complaints.append(f"step {index} takes a number from nowhere: {step['text']!r}")
        if any(number not in (left, right) for number in known):
            complaints.append(f"step {index} does not use what it names: {step['text']!r}")
        results.append(result)
    used = {i for i, _ in problem.meta["edges"]}
    complaints.extend(
        f"step {i} is used by nothing" for i in range(len(steps) - 1) if i not in used
    )
    if results[-1] not in problem.answers:
        complaints.append(f"the steps give {results[-1]}, the answer is {problem.answers}")
    return complaints
