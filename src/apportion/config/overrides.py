"""Dotted overrides: ``train.updates=20``, ``reviewers.0.tpr=0.7``, ``credit={method: capo}``."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any

from apportion.config.yaml12 import parse_yaml
from apportion.errors import UserError

# Another kind of thing has other options, so choosing one drops the options of the former.
_SELECTORS = ("kind", "method")


def parse_overrides(items: Iterable[str]) -> dict[str, Any]:
    """``key=value`` strings as dotted key to YAML value. Raises UserError for anything else."""
    overrides: dict[str, Any] = {}
    for item in items:
        key, separator, value = item.partition("=")
        if not separator or not re.fullmatch(r"\w[\w-]*(\.\w[\w-]*)*", key):
            raise UserError(f"'{item}' is no override: write key=value, such as train.updates=20")
        overrides[key] = parse_yaml(value, f"override {key}")
    return overrides


def parse_seeds(text: str) -> list[int]:
    """``0..4`` (both ends included), ``0,1,2`` or ``3``. Raises UserError for anything else."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\.\.(\d+))?\s*", part)
        if match is None:
            raise UserError(f"--seeds '{text}': write 0..4, or 0,1,2")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first > 10_000:
            raise UserError(f"--seeds '{text}': {first}..{last} is no usable range")
        seeds += range(first, last + 1)
    return seeds


def apply_overrides(data: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of ``data`` with each dotted key set.

    Mappings on the way are made where they lack. A number is an index into a list; the index
    after the last appends. Setting ``kind`` or ``method`` to another value drops its neighbours,
    which were options of the former one; such keys are applied first. Raises UserError where the
    way leads through something that has no parts.
    """
    result = copy.deepcopy(dict(data))
    is_option = lambda item: item[0].split(".")[-1] not in _SELECTORS  # noqa: E731
    for key, value in sorted(overrides.items(), key=is_option):
        _set(result, key, copy.deepcopy(value))
    return result


def value_at(data: Any, key: str) -> Any:
    """What stands at a dotted key; None where there is nothing."""
    for part in key.split("."):
        if isinstance(data, Mapping):
            data = data.get(part)
        elif isinstance(data, list | tuple) and part.isdigit() and int(part) < len(data):
            data = data[int(part)]
        else:
            return None
    return data


def _set(data: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    parent: Any = data
    for depth, part in enumerate(path):
        parent = _step(parent, part, ".".join(path[: depth + 1]))
    if isinstance(parent, dict):
        if last in _SELECTORS and last in parent and parent[last] != value:
            parent.clear()
        parent[last] = value
    else:
        index = _index(parent, last, key)
        parent[index : index + 1] = [value]


def _step(parent: Any, part: str, where: str) -> Any:
    """The mapping or list at ``part`` of ``parent``, made if it is missing."""
    if isinstance(parent, dict):
        child = parent.get(part)
        if child is None:
            child = parent[part] = {}
    else:
        index = _index(parent, part, where)
        if index == len(parent):
            parent.append({})
        child = parent[index]
    if isinstance(child, str):
        child = _expand(parent, part, child)
    if not isinstance(child, dict | list):
        raise UserError(f"{where} is {child!r}, which has no parts that could be set")
    return child


def _expand(parent: Any, part: str, name: str) -> dict[str, Any]:
    """A part given by its name alone (``reviewers: [arithmetic]``) as a mapping with options."""
    selector = "method" if part == "credit" else "kind"
    child = {selector: name}
    parent[int(part) if isinstance(parent, list) else part] = child
    return child


def _index(parent: list[Any], part: str, where: str) -> int:
    if not part.isdigit() or int(part) > len(parent):
        raise UserError(f"{where}: '{part}' is no index into a list of {len(parent)}")
    return int(part)
