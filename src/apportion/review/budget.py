"""Limits on what a reviewer spends and how fast it asks."""

from __future__ import annotations

import asyncio
import threading
import time


class BudgetSpent(Exception):
    """No more calls may be made."""


class Budget:
    """Counts tokens and money. Calls that are under way when a limit is reached are let finish,
    so a limit may be passed by what those cost."""

    def __init__(self, *, usd: float | None = None, tokens: int | None = None) -> None:
        self.limit_usd, self.limit_tokens = usd, tokens
        self.usd, self.tokens = 0.0, 0
        self._lock = threading.Lock()

    def check(self) -> None:
        """Raises BudgetSpent once a limit is reached."""
        if self.limit_tokens is not None and self.tokens >= self.limit_tokens:
            raise BudgetSpent(f"budget spent: {self.tokens} of {self.limit_tokens} tokens")
        if self.limit_usd is not None and self.usd >= self.limit_usd:
            raise BudgetSpent(f"budget spent: ${self.usd:.4f} of ${self.limit_usd:g}")

    def charge(self, tokens: int, usd: float | None) -> None:
        with self._lock:
            self.tokens += tokens
            self.usd += usd or 0.0


class Pace:
    """Spaces calls evenly, ``per_minute`` of them; bursts are what endpoints refuse."""

    def __init__(self, per_minute: float | None) -> None:
        self.gap = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    async def wait(self) -> None:
        if not self.gap:
            return
        with self._lock:
            now = time.monotonic()
            slot = max(now, self._next)
            self._next = slot + self.gap
        await asyncio.sleep(slot - now)
