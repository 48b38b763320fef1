"""One JSON object a line: a reader that names every line it cannot use, and a writer that never
leaves half a line behind."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from apportion.errors import UserError

T = TypeVar("T")
Model = TypeVar("Model", bound=BaseModel)

_BOM = b"\xef\xbb\xbf"


def reason(error: ValueError) -> str:
    """What is wrong, in one line; of a validation error its first problem and their number."""
    if not isinstance(error, ValidationError):
        return str(error)
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    where = ".".join(str(part) for part in problems[0]["loc"])
    what = problems[0]["msg"].removeprefix("Value error, ")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"not a {error.title}: {where + ': ' if where else ''}{what}{more}"


def _numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers from 1. Splits at \\n only: JSON text may hold U+2028 and such."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                yield number, line.removeprefix(_BOM) if number == 1 else line
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def _json_object(line: bytes) -> dict[str, Any]:
    """Raises ValueError that says what is wrong with the line."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start} of the line") from error
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if not line.endswith(b"\n"):
            raise ValueError("unfinished: the file ends inside this record") from error
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise ValueError("not usable: nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError(f"not a JSON object but {type(value).__name__}")
    # Only an escape can smuggle half a surrogate pair into decoded text.
    return json.loads(_utf8(value)) if "\\ud" in text.lower() else value


def _utf8(value: Any) -> bytes:
    """JSON in UTF-8. Half a surrogate pair is no character and UTF-8 has none such: it becomes
    one ``?``, so that no offset moves. Raises ValueError for NaN and infinity."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def parse_lines(
    path: Path | str, make: Callable[[int, dict[str, Any]], T]
) -> tuple[list[T], list[str]]:
    """Call ``make(line number, object)`` for each line; what it refuses becomes a complaint.

    ``make`` refuses by ValueError (a pydantic ValidationError is one). Blank lines are skipped.
    Returns the good values in order, and ``path:line: reason`` for every other line. Raises
    UserError when the file is missing or unreadable.
    """
    path = Path(path)
    values: list[T] = []
    complaints: list[str] = []
    for number, line in _numbered_lines(path):
        if not line.strip():
            continue
        try:
            values.append(make(number, _json_object(line)))
        except ValueError as error:
            complaints.append(f"{path}:{number}: {reason(error)}")
    return values, complaints


def read_jsonl(path: Path | str, model: type[Model]) -> tuple[list[Model], list[str]]:
    """The records of a file, and a complaint for every malformed, truncated or foreign line.

    Raises UserError when the file is missing or unreadable.
    """
    return parse_lines(path, lambda _, value: model.model_validate(value))


class JsonlWriter:
    """Appends lines. One write a line, so a killed process loses at most the line being written.

    A write that fails (disk full) is taken back to the last whole line and raises UserError; the
    writer stays usable, so the caller may free space and append the same line again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from error
        self._good = os.fstat(self._fd).st_size
        self._lines = 0

    def append(self, line: bytes) -> None:
        """``line`` without its line end. Raises UserError when it cannot be written."""
        rest = memoryview(line + b"\n")
        try:
            while rest:  # a nearly full disk takes part of a write before it refuses the rest
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            self._take_back()
            raise UserError(
                f"cannot write {self.path}: {error.strerror}; {self._lines} records of this run "
                f"({self._good} bytes) are saved in it: free space and go on with --resume"
            ) from error
        self._good += len(line) + 1
        self._lines += 1

    def _take_back(self) -> None:
        # A device such as /dev/full cannot be truncated, and holds no half line either.
        if os.path.isfile(self.path):
            os.ftruncate(self._fd, self._good)

    def sync(self) -> None:
        """Survive a power cut, not only a killed process."""
        os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


def mend_last_line(path: Path, model: type[BaseModel]) -> str | None:
    """Finish or drop a last line without a line end; returns what was done, None if nothing was.

    A whole record that only lacks its line end is kept.
    """
    if not path.is_file():
        return None
    with path.open("rb+") as file:
        content_end, tail = _unfinished_tail(file)
        if not tail:
            return None
        try:
            model.model_validate_json(tail)
        except ValidationError:
            file.truncate(content_end)
            return f"{path}: dropped {len(tail)} bytes of a last record that was never finished"
        file.seek(0, os.SEEK_END)
        file.write(b"\n")
        return f"{path}: the last record had no line end; it is whole and was kept"


def _unfinished_tail(file: Any, block: int = 1 << 16) -> tuple[int, bytes]:
    """Offset after the last line end, and the bytes that follow it."""
    position = file.seek(0, os.SEEK_END)
    tail = b""
    while position > 0:
        step = min(block, position)
        position -= step
        file.seek(position)
        tail = file.read(step) + tail
        newline = tail.rfind(b"\n")
        if newline >= 0:
            return position + newline + 1, tail[newline + 1 :]
    return 0, tail


def encode(record: BaseModel, *, nan_as_null: bool) -> bytes:
    """One line of JSON. Where null would not read back, raises ValueError for NaN or infinity."""
    if nan_as_null:
        return record.model_dump_json().encode("utf-8")
    try:
        return _utf8(record.model_dump(mode="json"))
    except ValueError as error:
        raise ValueError(
            f"{type(record).__name__} holds a number that is not finite, and JSON has none such"
        ) from error


def rewrite(
    path: Path, keep: Callable[[dict[str, Any]], bool]
) -> tuple[Iterable[bytes], int, list[str]]:
    """Lines of ``path`` to keep (verbatim), how many are dropped, and complaints on unreadable
    lines, which are dropped as well."""
    kept: list[bytes] = []
    dropped = 0
    complaints: list[str] = []
    for number, line in _numbered_lines(path):
        try:
            wanted = bool(line.strip()) and keep(_json_object(line))
        except ValueError as error:
            complaints.append(f"{path}:{number}: {error}; dropped")
            wanted = False
        if wanted:
            kept.append(line)
        else:
            dropped += 1
    return kept, dropped, complaints
