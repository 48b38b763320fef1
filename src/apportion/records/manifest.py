"""What one needs to know to run a run again: versions, source state, command, seeds, machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from apportion.trace import SCHEMA_VERSION

_PACKAGES = ("apportion", "numpy", "pydantic", "openai", "torch", "trl", "transformers", "peft")


def _versions() -> dict[str, str]:
    """Read from package metadata: importing torch for its version would cost seconds."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _git(directory: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def git_state(directory: Path) -> dict[str, Any] | None:
    """Commit and whether tracked files differ from it; None outside a git tree."""
    commit = _git(directory, "rev-parse", "HEAD")
    if commit is None:
        return None
    changes = _git(directory, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe_run(command: Sequence[str] | None = None, seeds: Sequence[int] = ()) -> dict[str, Any]:
    """The manifest of a run that starts now. ``command`` defaults to this process's own."""
    return {
        "schema_version": SCHEMA_VERSION,
        "started": now(),
        "command": list(command) if command is not None else list(sys.argv),
        "seeds": list(seeds),
        "versions": _versions(),
        "git": {
            "working_directory": git_state(Path.cwd()),
            "apportion": git_state(Path(__file__).resolve().parent),
        },
        "platform": {
            "system": platform.platform(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
        },
    }
