"""Tasks by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from apportion.errors import UserError, nearest
from apportion.options import parse_options
from apportion.tasks.base import Task, TaskOptions
from apportion.tasks.blend import Blend, BlendOptions
from apportion.tasks.environment import Environment
from apportion.tasks.graph import Graph, GraphOptions
from apportion.tasks.gsm8k import Gsm8k, Gsm8kOptions
from apportion.tasks.gym import GsmSymbolicOptions, Gym, GymOptions
from apportion.tasks.inexact import Inexact, InexactOptions
from apportion.tasks.leaky import Leaky, LeakyOptions
from apportion.tasks.parity import Parity, ParityOptions
from apportion.tasks.rooms import Rooms, RoomsOptions
from apportion.tasks.routes import Routes, RoutesOptions
from apportion.tasks.sloppy import Sloppy, SloppyOptions
from apportion.tasks.sums import Sums, SumsOptions
from apportion.tasks.textworld import TextWorld, TextWorldOptions
from apportion.tasks.words import Words, WordsOptions

_Model = TypeVar("_Model", bound=TaskOptions)


def _read(model: type[_Model], kind: str, options: dict[str, Any]) -> _Model:
    return parse_options(model, f"task {kind}", options)


TASKS: dict[str, str] = {
    "words": "generated school word problems with known steps, edges and irrelevant facts",
    "sums": "chains of additions and subtractions with known steps; trains in a minute",
    "parity": "rows of bits: their parity, or (rule copy) the bits again",
    "graph": "is X a Y or a Z: a path through a graph, drawn or from Coconut's JSON files (path)",
    "leaky": "another task (option inner) whose prompts leak the answer at a rate",
    "sloppy": "another task (option inner) whose gold solutions hold habitual slips",
    "routes": "sums whose gold solutions take a known route to the answer (chain, question, hint)",
    "blend": "several tasks (option of) in one, whose gold solutions show different habits",
    "rooms": "a text adventure of rooms and items: a plan, or turn by turn (objective agent)",
    "textworld": "games that TextWorld made (games: a folder), also turn by turn (objective agent)",
    "gsm8k": "GSM8K or any questions with a final answer: hub id, .jsonl or .csv path",
    "gsm_symbolic": "GSM-Symbolic problems of reasoning-gym; option difficulty",
    "gym": "any data set of reasoning-gym by name",
    "inexact": "good answers only, without a grader: shipped verse and puns, .jsonl, .csv or hub",
}

_MAKERS: dict[str, Callable[[dict[str, Any]], Task]] = {
    "words": lambda options: Words(_read(WordsOptions, "words", options)),
    "sums": lambda options: Sums(_read(SumsOptions, "sums", options)),
    "parity": lambda options: Parity(_read(ParityOptions, "parity", options)),
    "graph": lambda options: Graph(_read(GraphOptions, "graph", options)),
    "leaky": lambda options: Leaky(_read(LeakyOptions, "leaky", options), load_task),
    "sloppy": lambda options: Sloppy(_read(SloppyOptions, "sloppy", options), load_task),
    "routes": lambda options: Routes(_read(RoutesOptions, "routes", options)),
    "blend": lambda options: Blend(_read(BlendOptions, "blend", options), load_task),
    "rooms": lambda options: Rooms(_read(RoomsOptions, "rooms", options)),
    "textworld": lambda options: TextWorld(_read(TextWorldOptions, "textworld", options)),
    "gsm8k": lambda options: Gsm8k(_read(Gsm8kOptions, "gsm8k", options)),
    "gsm_symbolic": lambda options: Gym(
        _read(GsmSymbolicOptions, "gsm_symbolic", options).as_gym()
    ),
    "gym": lambda options: Gym(_read(GymOptions, "gym", options)),
    "inexact": lambda options: Inexact(_read(InexactOptions, "inexact", options)),
}


def load_task(spec: Mapping[str, Any] | str) -> Task:
    """The task that ``{"kind": name, option: value, ...}``, or a bare name, describes.

    Raises:
        UserError: unknown kind or option (with the nearest known one), or a bad value.
    """
    if isinstance(spec, str):
        spec = {"kind": spec}
    if not isinstance(spec, Mapping):
        raise UserError(f"a task is a name or a mapping with 'kind', not {type(spec).__name__}")
    options = {str(name): value for name, value in spec.items()}
    kind = options.pop("kind", None)
    if kind is None:
        raise UserError(f"task without 'kind': add kind: one of {', '.join(TASKS)}")
    if kind not in _MAKERS:
        raise UserError(
            f"unknown task '{kind}'{nearest(str(kind), list(TASKS))}; tasks: {', '.join(TASKS)}"
        )
    return _MAKERS[kind](options)


def load_environment(spec: Mapping[str, Any] | str) -> Environment:
    """The same, of a task that is played turn by turn. Raises UserError for one that is not."""
    task = load_task(spec)
    if not isinstance(task, Environment):
        raise UserError(
            f"task {task.name} has no turns: objective agent needs an environment: rooms, textworld"
        )
    return task


def validate_task(task: Task, n: int = 100) -> list[str]:
    """Complaints of the task about itself over ``n`` problems, without a model; [] is well.

    On top of each task's own check: problems are deterministic, ids are unique, records survive
    JSON, and a planted clean solution scores 1.
    """
    problems = task.problems("test", n, seed=0)
    complaints: list[str] = []
    if problems != task.problems("test", n, seed=0):
        complaints.append("two calls with the same seed give different problems")
    if len({problem.id for problem in problems}) != len(problems):
        complaints.append("problem ids repeat")
    for problem in problems:
        if type(problem).model_validate_json(problem.model_dump_json()) != problem:
            complaints.append(f"{problem.id}: changes when written to JSON and read back")
        for planted in task.corruptions(problem, seed=0):
            if planted.kind == "clean" and task.score(problem, planted.text) != 1.0:
                complaints.append(f"{problem.id}: the clean planted solution does not score 1")
            if planted.kind == "wrong_arithmetic" and task.score(problem, planted.text) != 0.0:
                complaints.append(f"{problem.id}: the planted wrong answer does not score 0")
    return complaints + task.validate(n)
