"""``apportion ls`` and ``apportion cp``: what ships, and a copy of it to change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from apportion.cli.console import say, table
from apportion.errors import UserError, nearest


def _tasks() -> dict[str, str]:
    from apportion.tasks import TASKS

    return TASKS


def _reviewers() -> dict[str, str]:
    from apportion.review import REVIEWERS

    return REVIEWERS


def _methods() -> dict[str, str]:
    from apportion.credit import METHODS

    listed = {}
    for name, method in METHODS.items():
        options = [f"{key}={field.get_default(call_default_factory=True)}"
                   for key, field in method.model_fields.items()]  # fmt: skip
        listed[name] = "  ".join([_first_line(method.__doc__ or ""), *options])
    return listed


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0].strip("# ")


def _recipes() -> dict[str, str]:
    from apportion.config import shipped_recipes

    return shipped_recipes()


def _segmenters() -> dict[str, str]:
    from apportion.segment import SEGMENTERS

    return {name: meaning for name, (_, meaning) in SEGMENTERS.items()}


def _policies() -> dict[str, str]:
    from apportion.policies import POLICIES

    return POLICIES


def _operations() -> dict[str, str]:
    from apportion.edit import OPERATIONS

    return OPERATIONS | {
        "revise": "let the policy write again from the first objection on; not with the others"
    }


def _cells() -> dict[str, str]:
    from apportion.policies.latent import CELLS

    return {name: _first_line(options.__doc__ or "") for name, options in CELLS.items()}


def _rules() -> dict[str, str]:
    from apportion.consensus import RULES

    return RULES


def _detectors() -> dict[str, str]:
    from apportion.detect import DETECTORS

    return DETECTORS


def _measures() -> dict[str, str]:
    from apportion.faithfulness import MEASURES
    from apportion.faithfulness.acceptance import standing

    return {
        name: f"sees {m.claims}; not {m.blind}; {standing(name)}" for name, m in MEASURES.items()
    }


def prompt_files() -> dict[str, Path]:
    """Prompts of the reviewers ``llm`` and ``dialogue`` by name."""
    import apportion.review

    folder = Path(apportion.review.__file__).parent / "prompts"
    return {file.stem: file for file in sorted(folder.rglob("*.md"))}


def _prompts() -> dict[str, str]:
    return {
        name: _first_sentence(file.read_text(encoding="utf-8"))
        for name, file in prompt_files().items()
    }


def _first_sentence(prompt: str) -> str:
    """Of the text behind the head that some prompts begin with."""
    return prompt.split("---\n")[-1].strip().split(". ", 1)[0].split("\n", 1)[0]


_KINDS: dict[str, Callable[[], dict[str, str]]] = {
    "tasks": _tasks,
    "policies": _policies,
    "cells": _cells,
    "segmenters": _segmenters,
    "reviewers": _reviewers,
    "rules": _rules,
    "detectors": _detectors,
    "measures": _measures,
    "methods": _methods,
    "operations": _operations,
    "recipes": _recipes,
    "prompts": _prompts,
}


def ls(
    kind: Annotated[str | None, typer.Argument(help=f"One of {', '.join(_KINDS)}.")] = None,
) -> None:
    """List what a recipe can name."""
    if kind is not None and kind not in _KINDS:
        raise UserError(
            f"nothing called '{kind}' to list{nearest(kind, list(_KINDS))}; "
            f"there are {', '.join(_KINDS)}"
        )
    if kind is not None:
        table(list(_KINDS[kind]().items()))
        return
    for position, (name, entries) in enumerate(_KINDS.items()):
        say(f"{'' if position == 0 else chr(10)}{name}:")
        table([(f"  {entry}", meaning) for entry, meaning in entries().items()])


def cp(
    name: Annotated[str, typer.Argument(help="A shipped recipe or prompt.")],
    dest: Annotated[Path, typer.Argument(help="File or directory.")] = Path("."),
) -> None:
    """Copy a shipped recipe or prompt next to you, to change it."""
    source = _shipped(name)
    target = dest / source.name if dest.is_dir() else dest
    if target.exists():
        raise UserError(f"{target} exists: name another file")
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}") from error
    say(str(target))


def _shipped(name: str) -> Path:
    from apportion.config import find_recipe, shipped_recipes

    stem = Path(name).name.removesuffix(".md").removesuffix(".yaml")
    prompts = prompt_files()
    if stem in prompts and not name.endswith(".yaml"):
        return prompts[stem]
    recipes = list(shipped_recipes())
    if stem in recipes:
        return find_recipe(stem)
    known = [*recipes, *prompts]
    raise UserError(
        f"no recipe or prompt '{name}'{nearest(stem, known)}; see apportion ls recipes, ls prompts"
    )
