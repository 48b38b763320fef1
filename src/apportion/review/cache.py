"""Answers of reviewers on disk, so that the same question is paid for once."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apportion.errors import UserError

# A writer in another process may hold the lock for a moment, a slow disk for longer.
BUSY_SECONDS = 30.0


def cache_key(request: Mapping[str, Any]) -> str:
    """SHA-256 of canonical JSON: everything that determines the answer goes in."""
    canonical = json.dumps(request, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


class ReviewCache:
    """A key-value table in an SQLite file that several threads and processes may share.

    Write-ahead logging lets readers and a writer work at once. ``synchronous=NORMAL`` does not
    wait for the disk on every put: a power cut may lose the last answers, never the file.
    """

    def __init__(self, path: Path | str, *, lazily: bool = False) -> None:
        """Opens the file, ``lazily`` when it is first asked. Raises UserError where the file
        cannot be opened or is something else."""
        self.path = Path(path)
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._owner = 0
        if not lazily:
            with self._lock:
                self._open()

    def get(self, key: str) -> dict[str, Any] | None:
        with self._lock:
            row = self._open().execute("SELECT value FROM answers WHERE key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Store an answer; the first one of two for a key is kept. Raises UserError (disk full)."""
        text = json.dumps(value)
        with self._lock:
            try:
                self._open().execute("INSERT OR IGNORE INTO answers VALUES (?, ?)", (key, text))
            except sqlite3.Error as error:
                raise UserError(f"cannot write the review cache {self.path}: {error}") from error

    def __len__(self) -> int:
        with self._lock:
            return self._open().execute("SELECT COUNT(*) FROM answers").fetchone()[0]

    def close(self) -> None:
        with self._lock:
            if self._connection is not None and self._owner == os.getpid():
                self._connection.close()
            self._connection = None

    def __enter__(self) -> ReviewCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._owner == os.getpid():
            return self._connection
        # SQLite connections do not survive a fork.
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = self._connect()
        except (OSError, sqlite3.Error) as error:
            raise UserError(f"cannot open the review cache {self.path}: {error}") from error
        self._owner = os.getpid()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        # isolation_level None: every statement is its own transaction.
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None
        )
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                # The change to WAL needs the file alone and does not wait for it by itself.
                connection.execute("PRAGMA journal_mode=WAL")
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID"
        )
        return connection
