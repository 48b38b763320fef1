"""The directory of one run: append-only records, one writer at a time, safe to kill and resume."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field

from apportion.errors import UserError, nearest
from apportion.records.atomic import write_bytes_atomic, write_json_atomic, write_text_atomic
from apportion.records.jsonl import JsonlWriter, encode, mend_last_line, read_jsonl, rewrite
from apportion.records.latents import LatentChain
from apportion.records.manifest import describe_run, now
from apportion.records.memory import Remembered
from apportion.trace import Credit, Edit, Probe, Record, Review, Rollout

Kind = Literal["rollouts", "reviews", "credit", "edits", "probes", "latents", "memory", "metrics"]

Number = float | int | None


class MetricsLine(Record):
    """The measurements of one moment of a run.

    ``update`` counts optimiser updates and ``rollouts`` the training rollouts sampled so far. A
    metric is a plain number or ``{"value", "n", "low", "high"}``, null where it is undefined, or a
    sentence (``alarm``).
    """

    update: int = Field(ge=0)
    rollouts: int = Field(default=0, ge=0)
    split: Literal["train", "validation", "test"] = "train"
    metrics: dict[str, Number | str | dict[str, Number]] = Field(default_factory=dict)


KINDS: dict[str, type[Record]] = {
    "rollouts": Rollout,
    "reviews": Review,
    "credit": Credit,
    "edits": Edit,
    "probes": Probe,
    "latents": LatentChain,
    "memory": Remembered,
    "metrics": MetricsLine,
}
_IDENTITY: dict[str, tuple[str, ...]] = {
    "rollouts": ("id",),
    "reviews": ("rollout_id", "reviewer", "critique"),
    "credit": ("rollout_id", "method"),
    "edits": ("rollout_id", "asked"),
    "probes": ("rollout_id", "measure", "update"),
    "latents": ("rollout_id", "update"),
    "memory": ("update", "problem_id"),
    "metrics": ("update", "split"),
}
_FILES = (
    "manifest.json",
    "config.yaml",
    "card.md",
    "report.html",
    "verdicts.json",
    "reviewers.json",
)
_CHECKPOINTS = "checkpoints"
_LOCK = ".lock"


def _file(path: Path, kind: str) -> Path:
    if kind not in KINDS:
        raise ValueError(f"no record kind '{kind}'{nearest(kind, list(KINDS))}")
    return path / f"{kind}.jsonl"


def read_kind(path: Path | str, kind: Kind) -> tuple[list[Any], list[str]]:
    """Records of one kind in a run directory (empty if it has none) and complaints by line.

    Takes no lock: a report may read while the run writes.
    """
    file = _file(Path(path), kind)
    return read_jsonl(file, KINDS[kind]) if file.exists() else ([], [])


def is_run(path: Path) -> bool:
    """Whether the directory holds anything that a run writes."""
    names = [*_FILES[:2], *(f"{kind}.jsonl" for kind in KINDS)]
    return any((path / name).is_file() for name in names)


class RunDirectory:
    """Opens ``path`` for writing, creating it. Use as a context manager, or call ``close``.

    A directory that already holds files is refused unless ``resume`` (keep its records, and mend
    the last line of each file if the writer was killed inside it) or ``clean`` (delete what the
    earlier run wrote, and nothing else). ``complaints`` says what was mended.

    Raises UserError when another process writes here, when the directory is in use and neither
    flag is given, or when it holds files but no run.
    """

    def __init__(self, path: Path | str, *, resume: bool = False, clean: bool = False) -> None:
        if resume and clean:
            raise UserError("--resume and --clean exclude each other: keep the old run, or drop it")
        self.path = Path(path)
        self.complaints: list[str] = []
        self._writers: dict[str, JsonlWriter] = {}
        self._refuse_occupied(resume or clean, locked=(self.path / _LOCK).exists())
        self._lock = self._acquire()
        try:
            self._refuse_occupied(resume or clean)
            if clean:
                _delete_run(self.path)
            self._mend()
        except BaseException:
            self.close()
            raise

    def _refuse_occupied(self, allowed: bool, *, locked: bool = False) -> None:
        """A directory with a lock is checked again once the lock is held, so that a running
        neighbour is reported as such and not as an old run."""
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file, not a directory: choose another --out")
        if locked or not self.path.is_dir():
            return
        if not any(entry.name != _LOCK for entry in self.path.iterdir()):
            return
        if not is_run(self.path):
            raise UserError(f"{self.path} holds files but no run: choose another --out")
        if not allowed:
            raise UserError(
                f"{self.path} already holds a run: go on with it by --resume, replace it by "
                "--clean, or choose another --out"
            )

    def _acquire(self) -> int:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            fd = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UserError(f"cannot write in {self.path}: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
            os.close(fd)
            raise UserError(
                f"{self.path}: another run is writing here (process {owner or 'unknown'}): wait "
                "for it, or choose another --out"
            ) from error
        except OSError as error:
            os.close(fd)
            raise UserError(f"cannot lock {self.path / _LOCK}: {error.strerror}") from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return fd

    def _mend(self) -> None:
        for kind, model in KINDS.items():
            complaint = mend_last_line(_file(self.path, kind), model)
            if complaint:
                self.complaints.append(complaint)

    def append(self, kind: Kind, *records: Record | Mapping[str, Any]) -> None:
        """Write each record as one line; a mapping is validated first.

        Raises UserError when the disk refuses: the file then ends with the last whole record.
        Raises ValueError (ValidationError) for a record that is not of this kind.
        """
        file = _file(self.path, kind)
        model = KINDS[kind]
        lines = []
        for record in records:
            checked = record if isinstance(record, model) else model.model_validate(record)
            lines.append(encode(checked, nan_as_null=model is MetricsLine))
        if kind not in self._writers:
            self._writers[kind] = JsonlWriter(file)
        for line in lines:
            self._writers[kind].append(line)

    def read(self, kind: Kind) -> tuple[list[Any], list[str]]:
        """Records of one kind so far, and complaints by line."""
        return read_kind(self.path, kind)

    def ids(self, kind: Kind) -> set[Hashable]:
        """What is already there. Rollouts: their id. Others a tuple: reviews (rollout_id,
        reviewer, critique), credit (rollout_id, method), edits (rollout_id, asked), probes
        (rollout_id, measure, update), latents (rollout_id, update), memory (update, problem_id),
        metrics (update, split)."""
        names = _IDENTITY[kind]
        keys = [tuple(getattr(record, name) for name in names) for record in self.read(kind)[0]]
        return {key[0] if len(names) == 1 else key for key in keys}

    def keep(self, kind: Kind, wanted: Callable[[dict[str, Any]], bool]) -> int:
        """Drop the records (given as JSON objects) that are not ``wanted``; how many went.

        The file is replaced in one step. Unreadable lines go too, and are named in
        ``complaints``. Raises UserError when the new file cannot be written.
        """
        file = _file(self.path, kind)
        writer = self._writers.pop(kind, None)
        if writer is not None:
            writer.close()
        if not file.exists():
            return 0
        lines, dropped, complaints = rewrite(file, wanted)
        self.complaints.extend(complaints)
        if dropped:
            write_bytes_atomic(file, lines)
        return dropped

    def rewind(self, update: int) -> dict[str, int]:
        """Drop all that came after ``update``, for a run that goes on from its checkpoint.

        Rollouts, probes, latents, memory and metrics go by their own ``update`` (those without one
        stay, and a memory from before the first), reviews, credit and edits with their rollout.
        Returns how many records of each kind were dropped. Repeating an interrupted rewind
        completes it.
        """

        def early(record: dict[str, Any]) -> bool:
            return record.get("update") is None or record["update"] <= update

        def held(record: dict[str, Any]) -> bool:
            return record["update"] <= max(update, 0)

        own: tuple[Kind, ...] = ("rollouts", "probes", "latents", "metrics")
        dropped: dict[str, int] = {kind: self.keep(kind, early) for kind in own}
        dropped["memory"] = self.keep("memory", held)
        present = self.ids("rollouts")
        kinds: tuple[Kind, ...] = ("reviews", "credit", "edits")
        for kind in kinds:
            dropped[kind] = self.keep(kind, lambda record: record.get("rollout_id") in present)
        return dropped

    def write_manifest(
        self, command: Sequence[str] | None = None, seeds: Sequence[int] = (), **extra: Any
    ) -> dict[str, Any]:
        """Write ``manifest.json``. Resuming keeps the first one's facts and lists the restarts."""
        manifest = describe_run(command, seeds) | extra
        file = self.path / "manifest.json"
        if file.exists():
            try:
                first = json.loads(file.read_text(encoding="utf-8"))
            except ValueError as error:
                raise UserError(f"{file} is not JSON: mend or delete it") from error
            restart = {key: manifest[key] for key in ("started", "command", "versions", "git")}
            manifest = first | {"resumed": [*first.get("resumed", []), restart]}
        write_json_atomic(file, manifest)
        return manifest

    def finish(self, **extra: Any) -> None:
        """Note in the manifest that the run came to its end, with whatever figures belong there."""
        file = self.path / "manifest.json"
        manifest = json.loads(file.read_text(encoding="utf-8"))
        write_json_atomic(file, manifest | {"finished": now()} | extra)

    def write_config(
        self,
        config: Mapping[str, Any],
        may_change: Sequence[str] = (),
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        """Write ``config.yaml``, the resolved configuration.

        Raises UserError when a resumed run was started with other settings, apart from the dotted
        keys in ``may_change``. A key that the old file lacks, since the version that wrote it did
        not know it, had its value in ``defaults``.
        """
        file = self.path / "config.yaml"
        if file.exists():
            old = yaml.safe_load(file.read_text(encoding="utf-8"))
            known = _filled(old, defaults or {})
            changed = [key for key in _differences(known, config) if key not in may_change]
            if changed:
                raise UserError(
                    f"{file}: this run was started with another {', '.join(changed)}: resume with "
                    "the same settings, or choose another --out"
                )
        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        write_text_atomic(file, text)

    def sync(self) -> None:
        """Push all records to the disk itself (before a checkpoint, say)."""
        for writer in self._writers.values():
            writer.sync()

    def close(self) -> None:
        """Release files and lock; harmless when repeated."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _filled(old: Any, defaults: Any) -> Any:
    """``old`` with the keys that it lacks."""
    if not isinstance(old, Mapping) or not isinstance(defaults, Mapping):
        return old
    known = {key: _filled(value, defaults.get(key)) for key, value in old.items()}
    return known | {key: value for key, value in defaults.items() if key not in old}


def _differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Dotted keys at which two configurations differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = [*old, *(key for key in new if key not in old)]
        found: list[str] = []
        for key in keys:
            found += _differences(old.get(key), new.get(key), f"{prefix}{key}.")
        return found
    same = json.dumps(old, default=str) == json.dumps(new, default=str)
    return [] if same else [prefix.rstrip(".")]


def _delete_run(path: Path) -> None:
    """Delete what a run writes, and nothing that anyone else put beside it."""
    names = [*_FILES, *(f"{kind}.jsonl" for kind in KINDS)]
    for name in names:
        (path / name).unlink(missing_ok=True)
    shutil.rmtree(path / _CHECKPOINTS, ignore_errors=True)
    for arm in path.iterdir():
        if arm.is_dir() and not arm.is_symlink() and is_run(arm):
            _delete_run(arm)
            (arm / _LOCK).unlink(missing_ok=True)
            if not any(arm.iterdir()):
                arm.rmdir()
