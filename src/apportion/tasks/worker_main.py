"""The child of :mod:`apportion.tasks.worker`: ``python -m apportion.tasks.worker_main``."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

CPU_LIMIT = 300  # seconds for one request: ends a child that hangs after its parent was killed
MEMORY_LIMIT = 8 * 2**30  # bytes of address space; a tower of powers would take all there is

# What third-party parsers raise on a text that they cannot read.
UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    SyntaxError,
    ArithmeticError,
    NotImplementedError,
    RecursionError,
    MemoryError,
    NameError,
    AssertionError,
)


@cache
def _read(text: str) -> list[Any]:
    from math_verify import LatexExtractionConfig, parse

    # LaTeX only: the other extractor would find a number in any sentence.
    latex = f"${text.strip('$')}$"
    # 0: its own time limit works by signals; the parent process keeps the time.
    return parse(latex, [LatexExtractionConfig()], parsing_timeout=0)


def readable(gold: str) -> bool:
    try:
        return bool(_read(gold))
    except UNREADABLE:
        return False


def same(gold: str, answer: str) -> bool:
    from math_verify import verify

    try:
        return bool(verify(_read(gold), _read(answer), timeout_seconds=0))
    except UNREADABLE:
        return False


@cache
def _dataset(name: str, seed: int, size: int, options: str) -> Any:
    import reasoning_gym

    return reasoning_gym.create_dataset(name, seed=seed, size=size, **json.loads(options))


def gym(name: str, seed: int, size: int, options: str, index: int, answer: str) -> float:
    """The data set's own score; 0 for an answer that its verifier cannot read."""
    dataset = _dataset(name, seed, size, options)
    entry = dataset[index]
    try:
        return float(dataset.score_answer(answer, entry))
    except UNREADABLE:
        return 0.0


HANDLERS: dict[str, Callable[..., Any]] = {"readable": readable, "same": same, "gym": gym}


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))


def limit_cpu(seconds: int) -> None:
    """Let the system end this process once it has computed for so long from now."""
    try:
        import resource
    except ImportError:
        return
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(usage.ru_utime + usage.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def main() -> None:
    # Libraries may print: the protocol keeps the real output to itself.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    sys.stdout = sys.stderr
    logging.disable(logging.CRITICAL)
    _limit_memory()
    print(json.dumps({"value": "ready"}), file=replies, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        limit_cpu(CPU_LIMIT)
        try:
            reply = {"value": HANDLERS[request.pop("do")](**request)}
        except Exception as error:
            reply = {"fault": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
