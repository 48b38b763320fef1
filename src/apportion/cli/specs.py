"""Reviewers, methods and tasks as they are written on a command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apportion.cli.console import SPEC_HELP
from apportion.config.load import load_yaml
from apportion.config.yaml12 import parse_yaml
from apportion.errors import UserError


def parse_spec(text: str, selector: str) -> dict[str, Any]:
    """The mapping that a spec stands for; ``selector`` (kind, method, rule) is the key of its name.

    ``dca``, ``dca:cap=3,signed=true``, ``{method: dca}``, ``mine.yaml``; for the reviewer ``llm``
    also ``llm:MODEL@URL``. Raises UserError where it is none of these.
    """
    if text.lstrip().startswith("{"):
        return _with_selector(parse_yaml(text, f"'{text}'"), selector, text)
    if Path(text).suffix in (".yaml", ".yml"):
        return _with_selector(load_yaml(text), selector, text)
    name, colon, rest = text.partition(":")
    if not name or (colon and not rest):
        raise UserError(f"'{text}' names nothing: write {SPEC_HELP}")
    spec: dict[str, Any] = {selector: name}
    for position, part in enumerate(_parts(rest)):
        key, equals, value = part.partition("=")
        if name == "llm" and position == 0 and ("@" in key or not equals):
            spec |= _endpoint(part)
        elif equals and key.strip():
            spec[key.strip()] = parse_yaml(value, f"'{text}'")
        else:
            raise UserError(f"'{text}': '{part}' is no option: write {SPEC_HELP}")
    return spec


def _parts(rest: str) -> list[str]:
    """Split at commas outside brackets: ``operations=[2,5],x=1`` has two parts."""
    parts: list[str] = [""]
    depth = 0
    for character in rest:
        depth += (character in "[{") - (character in "]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part for part in parts if part.strip()]


def _endpoint(text: str) -> dict[str, Any]:
    model, at, url = text.partition("@")
    return {"model": model} | ({"base_url": url} if at else {})


def _with_selector(value: Any, selector: str, text: str) -> dict[str, Any]:
    if not isinstance(value, dict) or selector not in value:
        raise UserError(f"{text}: a mapping with '{selector}' is needed")
    return value


def label_of(spec: dict[str, Any], selector: str) -> str:
    """Name for records: the bare name, or with its options where it has some."""
    options = ",".join(f"{key}={value}" for key, value in spec.items() if key != selector)
    return f"{spec[selector]}:{options}" if options else str(spec[selector])


def parse_map(items: list[str]) -> dict[str, str]:
    """``COLUMN=field`` pairs. Raises UserError for anything else."""
    renames: dict[str, str] = {}
    for item in items:
        source, equals, target = item.partition("=")
        if not (equals and source and target):
            raise UserError(f"--map '{item}': write COLUMN=field, such as question=prompt")
        renames[source] = target
    return renames
