"""The finished arms and seeds of one run, or of several that differ only in their seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from apportion.config.schema import RunConfig
from apportion.errors import UserError
from apportion.report.data import Part, Run

# Names and claims are no settings, and these change how fast a run is, not what it learns.
_FREE = ("name", "question", "claims", "seeds", "arms", "train.threads", "train.checkpoint_every")

T = TypeVar("T")


@dataclass
class Evidence:
    """``finished`` holds parts by arm and seed; ``planned`` the seeds that an arm was to have."""

    finished: dict[str, dict[int, Part]] = field(default_factory=lambda: defaultdict(dict))
    planned: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def each(
        self, arms: Iterable[str], read: Callable[[Part], T | None]
    ) -> dict[str, dict[int, T]]:
        """What ``read`` gives for each finished seed of each arm; None is left out."""
        found: dict[str, dict[int, T]] = {}
        for arm in arms:
            read_parts = {seed: read(part) for seed, part in self.finished.get(arm, {}).items()}
            found[arm] = {seed: value for seed, value in read_parts.items() if value is not None}
        return found

    def gaps(
        self, arms: Iterable[str], values: Mapping[str, Mapping[int, Any]], what: str
    ) -> list[str]:
        """What is missing for a judgement, in words."""
        found = []
        for arm in arms:
            done = set(self.finished.get(arm, ()))
            if not done and not self.planned.get(arm):
                found.append(f"no arm {arm} was trained")
                continue
            if left := self.planned.get(arm, set()) - done:
                found.append(f"{_seeds(left)} of {arm} not finished")
            if bare := done - set(values.get(arm, ())):
                found.append(f"no {what} in {_seeds(bare)} of {arm}")
        return found

    def stopped(self, arms: Iterable[str]) -> list[str]:
        """The seeds that an alarm ended early: their means are over fewer updates."""
        return [
            f"seed {seed} of {arm} was stopped early: {part.manifest['alarm']}"
            for arm in arms
            for seed, part in self.finished.get(arm, {}).items()
            if part.manifest.get("alarm")
        ]


def gather(runs: Sequence[Run]) -> Evidence:
    """The parts of all runs.

    Raises UserError where two runs hold the same arm and seed, or differ in more than seeds.
    """
    _check_same_settings(runs)
    evidence = Evidence()
    origin: dict[tuple[str, int], Run] = {}
    for run in runs:
        for part in run.parts:
            if part.seed is None or not part.lines:
                continue
            first = origin.setdefault((part.arm, part.seed), run)
            if first is not run:
                raise UserError(
                    f"seed {part.seed} of {part.arm} is both in {first.path} and in {run.path}: "
                    "runs are pooled over different seeds"
                )
            if part.manifest.get("finished") or not part.manifest:
                evidence.finished[part.arm][part.seed] = part
            evidence.planned[part.arm].add(part.seed)
        for arm in {*run.configured_arms, *run.arms}:
            evidence.planned[arm] |= set(run.config.get("seeds") or ())
    return evidence


def _check_same_settings(runs: Sequence[Run]) -> None:
    """The runs as a whole, and arms of the same name."""
    wholes = [(str(run.path), run.config) for run in runs]
    _check_equal(wholes)
    by_arm: dict[str, list[tuple[str, Mapping[str, Any]]]] = defaultdict(list)
    for run in runs if len(runs) > 1 else ():
        for part in run.parts:
            by_arm[part.arm].append((str(part.path), part.config))
    for configs in by_arm.values():
        _check_equal(configs)


def _check_equal(configs: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    if len(configs) < 2:
        return
    first_path, first = configs[0][0], _settings(configs[0][1])
    for path, config in configs[1:]:
        other = _settings(config)
        keys = [key for key in {**first, **other} if first.get(key) != other.get(key)]
        if keys:
            raise UserError(
                f"{first_path} and {path} differ in {', '.join(keys)}: only runs that differ in "
                "their seeds are pooled"
            )


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys and values, defaults of keys that an older version did not write included."""
    with suppress(ValidationError):  # not one of ours, so it is compared as it stands
        config = RunConfig.model_validate(config).model_dump(mode="json")
    return _flat(config, "")


def _flat(value: Any, key: str) -> dict[str, Any]:
    if key in _FREE:
        return {}
    if not isinstance(value, Mapping):
        return {key: value}
    found: dict[str, Any] = {}
    for name, inner in value.items():
        found |= _flat(inner, f"{key}.{name}" if key else str(name))
    return found


def _seeds(seeds: Iterable[int]) -> str:
    listed = [str(seed) for seed in sorted(seeds)]
    return f"seed{'s' if len(listed) > 1 else ''} {', '.join(listed)}"
