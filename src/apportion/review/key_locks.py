"""One lock for each key and event loop."""

from __future__ import annotations

import asyncio
import weakref


class KeyLocks:
    """Locks that last as long as somebody holds or awaits them. Locks belong to an event loop."""

    def __init__(self) -> None:
        self._loops: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, weakref.WeakValueDictionary[str, asyncio.Lock]
        ] = weakref.WeakKeyDictionary()

    def of(self, loop: asyncio.AbstractEventLoop, key: str) -> asyncio.Lock:
        locks = self._loops.setdefault(loop, weakref.WeakValueDictionary())
        lock = locks.get(key)
        if lock is None:
            lock = locks[key] = asyncio.Lock()
        return lock
