"""What a run directory holds: its parts, their measurements, and what is missing or unreadable.

A training run has one *part* for each arm and seed (``dca-s0/``); the directory of a stage is a
single part. Nothing here raises for a missing or damaged file: it becomes a note on the page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import Field

from apportion.errors import UserError
from apportion.records import KINDS, MetricsLine, read_jsonl
from apportion.stats import Estimate, interquartile_mean, stratified_bootstrap, wilson

_CREDITED = "credit"  # the objective whose chains are reviewed
_PART_NAME = re.compile(r"(?P<arm>.+)-s(?P<seed>\d+)")
# The arm that the others are measured against, where there is one of that name.
BASELINE = "outcome"


class _Line(MetricsLine):
    """A line of metrics.jsonl in which ``alarm`` is a sentence."""

    metrics: dict[str, Any] = Field(default_factory=dict)


class Measure(NamedTuple):
    """One value of one seed; ``n``, ``low`` and ``high`` are None where the run gave none."""

    value: float
    n: int | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Part:
    """A directory with records. ``seed`` is None for a stage."""

    path: Path
    arm: str
    seed: int | None
    lines: tuple[MetricsLine, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return self.arm if self.seed is None else f"{self.arm}-s{self.seed}"

    def has(self, kind: str) -> bool:
        return (self.path / f"{kind}.jsonl").is_file()

    def splits(self) -> set[str]:
        return {line.split for line in self.lines}

    def series(self, split: str, metric: str) -> list[tuple[float, Measure]]:
        """(training rollouts, value) in order; a repeated moment counts once, the last wins."""
        found = {}
        for line in self.lines:
            measure = read_measure(line.metrics.get(metric)) if line.split == split else None
            if measure:
                found[float(line.rollouts)] = measure
        return sorted(found.items())

    def final(self, split: str, metric: str) -> Measure | None:
        series = self.series(split, metric)
        return series[-1][1] if series else None

    def total(self, metric: str) -> float | None:
        """Sum over all lines of every split; None where no line has the metric."""
        values = [read_measure(line.metrics.get(metric)) for line in self.lines]
        known = [measure.value for measure in values if measure]
        return sum(known) if known else None

    def alarms(self) -> list[tuple[int | None, str]]:
        """(update, sentence) for each different alarm, where it was first raised; the update is
        None where the sentence says it itself."""
        first: dict[str, int | None] = {}
        for line in self.lines:
            text = line.metrics.get("alarm")
            if isinstance(text, str) and text:
                first.setdefault(text, line.update)
        ending = self.manifest.get("alarm")
        if isinstance(ending, str) and ending:
            first.setdefault(ending, None)
        down, trained = self._reviewers_down()
        if down:
            share = "all" if len(down) == trained else f"{len(down):,} of {trained:,}"
            text = f"reviewers down in {share} updates, which trained on the outcome alone"
            first.setdefault(text, down[0])
        return [(update, text) for text, update in first.items()]

    def _reviewers_down(self) -> tuple[list[int], int]:
        """The updates in which every review failed, and how many had reviews."""
        failed = [
            (line.update, measure.value)
            for line in self.lines
            if (measure := read_measure(line.metrics.get("review/failed")))
        ]
        return [update for update, share in failed if share == 1.0], len(failed)


@dataclass
class Run:
    """A run directory. ``notes`` are sentences for the page, ``complaints`` unusable lines."""

    path: Path
    name: str
    parts: list[Part]
    config: dict[str, Any]
    config_text: str
    manifest: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def measured(self) -> bool:
        """Whether it trained: arms, curves and seeds, not only records."""
        return any(part.lines for part in self.parts)

    @property
    def arms(self) -> list[str]:
        """Arm names in the order of the configuration, else baseline first, then by name."""
        names = {part.arm for part in self.parts}
        given = [a for a in _configured_arms(self.config) if a in names]
        rest = sorted(names - set(given), key=lambda name: (name != BASELINE, name))
        return given + rest

    @property
    def configured_arms(self) -> list[str]:
        """Those that the configuration names, trained or not."""
        return _configured_arms(self.config)

    def parts_of(self, arm: str) -> list[Part]:
        return [part for part in self.parts if part.arm == arm]

    def read(self, part: Part, kind: str) -> list[Any]:
        """Records of one file of a part, empty without it; complaints are kept for the page."""
        if not part.has(kind):
            return []
        records, complaints = read_jsonl(part.path / f"{kind}.jsonl", KINDS[kind])
        self.complain(complaints)
        return records

    def complain(self, complaints: Iterable[str]) -> None:
        """Keep complaints for the page, each once however often its file is read."""
        prefix = f"{self.path}/"
        known = set(self.complaints)
        new = [complaint.removeprefix(prefix) for complaint in complaints]
        self.complaints += [complaint for complaint in new if complaint not in known]


def read_measure(raw: Any) -> Measure | None:
    """A metric as the run wrote it: a number, or {value, n, low, high}. None if undefined."""
    if isinstance(raw, bool) or raw is None or isinstance(raw, str):
        return None
    if not isinstance(raw, dict):
        return Measure(float(raw)) if raw == raw else None
    value = raw.get("value")
    if value is None or value != value:
        return None
    n, low, high = raw.get("n"), raw.get("low"), raw.get("high")
    return Measure(float(value), None if n is None else int(n), low, high)


def over_seeds(measures: Sequence[Measure], *, share: bool) -> Estimate | None:
    """Interquartile mean over seeds with its interval.

    One seed keeps the interval that it came with; where it brought none and is a share of n
    things, that is Wilson's.
    """
    if not measures:
        return None
    if len(measures) > 1:
        return stratified_bootstrap([m.value for m in measures], interquartile_mean)
    only = measures[0]
    if only.low is None and share and only.n:
        return Estimate(only.value, 1, *wilson(only.value * only.n, only.n))
    return Estimate(only.value, 1, only.low, only.high)


def load_run(path: Path | str) -> Run:
    """Read everything of a run but its rollouts, reviews and credit.

    Raises UserError where the directory does not exist or holds no records.
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"{path}: no such run directory")
    directories = [path, *sorted(p for p in path.iterdir() if p.is_dir() and not p.is_symlink())]
    directories = [p for p in directories if any((p / f"{kind}.jsonl").is_file() for kind in KINDS)]
    if not directories:
        raise UserError(
            f"{path}: no rollouts.jsonl, reviews.jsonl, credit.jsonl or metrics.jsonl here or one "
            "level below: name the directory of a run"
        )
    notes: list[str] = []
    config_text = _read_text(path / "config.yaml")
    run = Run(
        path=path,
        name=path.resolve().name,
        parts=[],
        config=_mapping(config_text, path / "config.yaml", notes),
        config_text=config_text,
        manifest=_mapping(_read_text(path / "manifest.json"), path / "manifest.json", notes),
        notes=notes,
    )
    for directory in directories:
        run.parts.append(_load_part(run, directory))
    _note_gaps(run)
    return run


def _load_part(run: Run, directory: Path) -> Part:
    lines: list[_Line] = []
    file = directory / "metrics.jsonl"
    if file.is_file():
        lines, complaints = read_jsonl(file, _Line)
        run.complain(complaints)
    name = directory.resolve().name
    match = _PART_NAME.fullmatch(name)
    if directory == run.path:
        config, manifest = run.config, run.manifest
    else:
        config, manifest = (
            _mapping(_read_text(directory / file), directory / file, run.notes)
            for file in ("config.yaml", "manifest.json")
        )
    arm, seed = (match["arm"], int(match["seed"])) if match else (name, None)
    return Part(directory, arm, seed, tuple(lines), config, manifest)


def _note_gaps(run: Run) -> None:
    """Say which files are missing, once for all parts that lack the same ones."""
    bare = [part for part in run.parts if not any(map(part.has, ("rollouts", "credit", "reviews")))]
    if bare:
        labels = _some([part.label for part in bare])
        run.notes.append(f"No records but figures were kept in {labels}: they show no traces.")
    consequences = {
        "rollouts": "none of its traces can be shown",
        "credit": "the text of its traces is not tinted",
        "reviews": "no verdicts are shown and steps are lines",
    }
    if run.measured:
        consequences["metrics"] = "it is missing from the curves and the table"
    for kind, consequence in consequences.items():
        known = bare if kind != "metrics" else []
        if kind in ("credit", "reviews"):
            # What is trained without credit has none to miss.
            known = [
                *bare,
                *(p for p in run.parts if p.config.get("objective", _CREDITED) != _CREDITED),
            ]
        lacking = [p.label for p in run.parts if p not in known and not p.has(kind)]
        if lacking:
            run.notes.append(f"No {kind}.jsonl in {_some(lacking)}: {consequence}.")
    missing = _not_begun(run)
    if missing:
        run.notes.append(f"Nothing recorded yet of {_some(missing)}.")
    unfinished = [p.label for p in run.parts if p.lines and p.manifest and not _finished(p)]
    if unfinished:
        run.notes.append(f"Not finished when this page was made: {_some(unfinished)}.")


def _not_begun(run: Run) -> list[str]:
    """Arms and seeds that the configuration names and that have no directory with records."""
    seeds = run.config.get("seeds")
    if not run.measured or not isinstance(seeds, list):
        return []
    begun = {part.label for part in run.parts}
    wanted = [f"{arm}-s{seed}" for arm in _configured_arms(run.config) for seed in seeds]
    return [label for label in wanted if label not in begun]


def _finished(part: Part) -> bool:
    return bool(part.manifest.get("finished"))


def _some(names: Sequence[str], limit: int = 6) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _configured_arms(config: dict[str, Any]) -> list[str]:
    arms = config.get("arms")
    if isinstance(arms, dict):
        return [str(name) for name in arms]
    if isinstance(arms, list):
        return [str(a.get("name", "")) if isinstance(a, dict) else str(a) for a in arms]
    return []


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _mapping(text: str, path: Path, notes: list[str]) -> dict[str, Any]:
    """A YAML or JSON mapping; a damaged file is noted and counts as empty."""
    if not text:
        return {}
    try:
        value = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        notes.append(f"{path.parent.name}/{path.name} cannot be read.")
        return {}
    return value if isinstance(value, dict) else {}


def outcome_class(outcome: float | None) -> str:
    """right, wrong, or undecided."""
    if outcome is None:
        return "undecided"
    return "right" if outcome >= 0.5 else "wrong"


__all__ = [
    "BASELINE",
    "Measure",
    "Part",
    "Run",
    "load_run",
    "outcome_class",
    "over_seeds",
    "read_measure",
]
