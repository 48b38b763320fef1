"""Files that are either the old one or the new one, whatever happens in between."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from apportion.errors import UserError


def write_bytes_atomic(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a temporary neighbour, flush it to disk, and rename it over ``path``.

    Raises UserError when the file cannot be written (disk full, no permission); ``path`` is then
    as it was.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"cannot write {path}: {error.strerror}; the old content stays") from error


def write_text_atomic(path: Path | str, text: str) -> None:
    """Replace ``path`` by ``text`` in UTF-8. Raises UserError when it cannot be written."""
    write_bytes_atomic(Path(path), [text.encode("utf-8")])


def write_json_atomic(path: Path | str, value: Any) -> None:
    """Replace ``path`` by indented JSON. Raises UserError when it cannot be written."""
    write_text_atomic(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
