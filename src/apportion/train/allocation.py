"""How freed memory is kept for the next batch."""

from __future__ import annotations

import ctypes

# <malloc.h> of glibc.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Lets this process keep what it frees, and use it again, for as long as it runs.

    glibc gives large blocks back to the system, which clears every page of them before it hands
    them out again: with each batch anew. The most that a process holds at once stays what it was,
    but for gaps. Returns whether the C library could be told: elsewhere nothing changes.
    """
    try:
        tell = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(tell(_MMAP_MAX, 0) and tell(_TRIM_THRESHOLD, _NEVER))
