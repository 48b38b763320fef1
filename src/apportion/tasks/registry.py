"""Tasks by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from apportion.errors import UserError, nearest
from apportion.tasks.base import Task, parse_options
from apportion.tasks.words import Words, WordsOptions

TASKS: dict[str, str] = {
    "words": "generated school word problems with known steps, edges and irrelevant facts",
}


def _words(options: dict[str, Any]) -> Task:
    return Words(parse_options(WordsOptions, "words", options))


_MAKERS: dict[str, Callable[[dict[str, Any]], Task]] = {"words": _words}


def load_task(spec: Mapping[str, Any] | str) -> Task:
    """The task that ``{"kind": name, option: value, ...}``, or a bare name, describes.

    Raises:
        UserError: unknown kind or option (with the nearest known one), or a bad value.
    """
    if isinstance(spec, str):
        spec = {"kind": spec}
    if not isinstance(spec, Mapping):
        raise UserError(f"a task is a name or a mapping with 'kind', not {type(spec).__name__}")
    options = dict(spec)
    kind = options.pop("kind", None)
    if kind is None:
        raise UserError(f"task without 'kind': add kind: one of {', '.join(TASKS)}")
    if kind not in _MAKERS:
        raise UserError(
            f"unknown task '{kind}'{nearest(str(kind), list(TASKS))}; tasks: {', '.join(TASKS)}"
        )
    return _MAKERS[kind](options)
