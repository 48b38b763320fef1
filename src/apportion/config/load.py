"""From a recipe and overrides to a checked configuration, and from that to its arms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from apportion.config.overrides import apply_overrides, parse_overrides, value_at
from apportion.config.recipes import find_recipe
from apportion.config.schema import RunConfig
from apportion.config.yaml12 import parse_yaml
from apportion.errors import UserError, nearest


def load_yaml(path: Path | str) -> dict[str, Any]:
    """The mapping in a YAML file. Raises UserError with file and line for anything else."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file in UTF-8") from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    data = parse_yaml(text, str(path))
    if not isinstance(data, dict):
        raise UserError(f"{path}: keys and values are needed, not {type(data).__name__}")
    return data


def resolve(recipe: Path | str, overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration of a recipe (path or shipped name) with ``key=value`` overrides.

    All arms are checked too. Raises UserError that names the file or override, the dotted key and,
    for an unknown key, its nearest neighbour; also for an override that the arms undo.
    """
    path = find_recipe(str(recipe))
    wanted = parse_overrides(overrides)
    data = load_yaml(path)
    data.setdefault("name", path.stem)
    if "seed" in wanted or "seeds" in wanted:
        data.pop("seed", None)
        data.pop("seeds", None)
    config = _validate(apply_overrides(data, wanted), str(path), wanted)
    arms = expand_arms(config)
    _refuse_lost(wanted, config, [arm for _, _, arm in arms])
    return config


def expand_arms(config: RunConfig) -> list[tuple[str, int, RunConfig]]:
    """(arm name, seed, configuration of that arm and seed alone), all seeds of an arm together.

    Raises UserError for an arm that sets something wrong.
    """
    expanded: list[tuple[str, int, RunConfig]] = []
    base = config.model_dump(mode="json", exclude={"arms", "claims"})
    changes: Iterable[tuple[str, Mapping[str, Any]]] = [
        (arm.name, arm.set) for arm in config.arms or ()
    ] or [(config.arm_names[0], {})]
    for name, change in changes:
        for key in change:
            if key.split(".")[0] in ("arms", "claims", "seed", "seeds", "name"):
                raise UserError(f"arm {name}: an arm cannot set {key}")
        data = apply_overrides(base, change)
        for seed in config.seeds:
            arm = _validate(data | {"seeds": [seed]}, f"arm {name}", {})
            expanded.append((name, seed, arm))
    return expanded


def choose_arms(config: RunConfig, names: Sequence[str]) -> RunConfig:
    """The configuration with the named arms alone, in the recipe's order, and without the claims
    that need another arm. Raises UserError for an arm that the recipe does not have.
    """
    known = [arm.name for arm in config.arms or ()]
    for name in names:
        if name not in known:
            raise UserError(f"--arms: the recipe has no arm '{name}'{nearest(name, known)}")
    arms = tuple(arm for arm in config.arms or () if arm.name in names)
    claims = tuple(claim for claim in config.claims or () if set(claim.names) <= set(names))
    return config.model_copy(update={"arms": arms, "claims": claims})


def diff_from_default(config: RunConfig) -> dict[str, Any]:
    """Dotted keys whose value is not the default, with their value."""
    default = RunConfig(name=config.name).model_dump(mode="json")
    return _different(default, config.model_dump(mode="json"), "")


def _different(old: Any, new: Any, prefix: str) -> dict[str, Any]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        found: dict[str, Any] = {}
        for key in [*new, *(key for key in old if key not in new)]:
            found |= _different(old.get(key), new.get(key), f"{prefix}{key}.")
        return found
    return {} if old == new else {prefix.rstrip("."): new}


def _refuse_lost(wanted: Mapping[str, Any], config: RunConfig, arms: Sequence[RunConfig]) -> None:
    """An override that every arm replaces by its own would be ignored without a word."""
    asked = config.model_dump(mode="json")
    given = [arm.model_dump(mode="json") for arm in arms]
    for key in wanted:
        if key.split(".")[0] in ("arms", "claims", "seed", "seeds"):
            continue
        if all(value_at(arm, key) != value_at(asked, key) for arm in given):
            raise UserError(
                f"override {key} has no effect, every arm sets it: change an arm "
                f"(arms.0.set={{{key}: ...}}), or train without arms (arms=null)"
            )


def _validate(data: Mapping[str, Any], source: str, overrides: Mapping[str, Any]) -> RunConfig:
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        # A misspelt key is also a missing one; its own name says more.
        unknown = [problem for problem in problems if problem["type"] == "extra_forbidden"]
        first = (unknown or problems)[0]
        where = ".".join(str(part) for part in first["loc"] if not _is_branch(str(part)))
        given = [key for key in overrides if where == key or where.startswith(f"{key}.")]
        origin = f"override {given[0]}" if given else source
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UserError(f"{origin}: {_explain(first, where)}{more}") from None


def _is_branch(part: str) -> bool:
    """Pydantic puts the tried alternative of a union into the path: ``dict[str,any]``, ``str``."""
    return part in ("str", "int", "float", "bool") or part.startswith("dict[")


def _explain(problem: Mapping[str, Any], where: str) -> str:
    if problem["type"] == "extra_forbidden":
        return f"unknown key {where}{_suggest(where)}"
    if problem["type"] == "missing":
        return f"{where} is missing"
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "value_error" or isinstance(problem["input"], Mapping | list):
        return f"{where}: {message}" if where else message
    return f"{where}: {message}, not {problem['input']!r}"


def _suggest(where: str) -> str:
    """The nearest neighbour of an unknown key, else the place where a key of its name exists."""
    *path, last = where.split(".")
    siblings: type[BaseModel] | None = RunConfig
    for part in path:
        if siblings is not None and not part.isdigit():
            field = siblings.model_fields.get(part)
            siblings = _model_of(field.annotation) if field else None
    elsewhere = [key for key in _all_keys(RunConfig, "") if key.split(".")[-1] == last]
    if elsewhere:
        return f" (did you mean '{elsewhere[0]}'?)"
    return nearest(last, list(siblings.model_fields)) if siblings else ""


def _model_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_of, get_args(annotation))), None)


def _all_keys(model: type[BaseModel], prefix: str) -> list[str]:
    keys: list[str] = []
    for name, field in model.model_fields.items():
        inner = _model_of(field.annotation)
        keys.append(f"{prefix}{name}")
        if inner is not None and name not in ("arms", "claims"):
            keys += _all_keys(inner, f"{prefix}{name}.")
    return keys
