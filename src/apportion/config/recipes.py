"""Recipes by path, or by name among those that ship."""

from __future__ import annotations

from pathlib import Path

import apportion
from apportion.config.yaml12 import parse_yaml
from apportion.errors import UserError, nearest


def recipe_folder() -> Path:
    """``recipes/`` of a source checkout, else the copy inside the installed package."""
    package = Path(apportion.__file__).resolve().parent
    checkout = package.parents[1] / "recipes"
    return checkout if (package.parents[1] / "pyproject.toml").is_file() else package / "recipes"


def shipped_recipes() -> dict[str, str]:
    """Name to the question that the recipe asks."""
    found: dict[str, str] = {}
    for file in sorted(recipe_folder().glob("*.yaml")):
        data = parse_yaml(file.read_text(encoding="utf-8"), str(file))
        found[file.stem] = str(data.get("question", "")) if isinstance(data, dict) else ""
    return found


def find_recipe(name: str) -> Path:
    """The file at this path, else the shipped recipe of this name.

    ``recipes/x.yaml``, ``x.yaml`` and ``x`` all name the shipped x. Raises UserError for a name
    that is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = (
        recipe_folder() / f"{path.stem if path.suffix in ('.yaml', '.yml') else path.name}.yaml"
    )
    if path.parent.name in ("", "recipes") and len(path.parts) <= 2 and shipped.is_file():
        return shipped
    if path.is_dir():
        raise UserError(f"{name} is a directory: name a recipe file")
    hint = nearest(path.stem, list(shipped_recipes()))
    raise UserError(
        f"no recipe '{name}'{hint}: give a file, or a name that 'apportion ls recipes' lists"
    )
