"""Where a completion's answer stands, and whether it equals the gold answer.

Numbers and fractions are compared exactly, here. Everything else goes to math-verify in a worker
process with a time limit, where math-verify is installed.
"""

from __future__ import annotations

import importlib.util
import logging
import re
from functools import cache

from apportion.tasks.lines import ANSWER_MARK, reasoning_end
from apportion.tasks.numbers import parse_number, same_number
from apportion.tasks.worker import Late, shared_worker

TIME_LIMIT = 5.0
_LAST_NUMBER = re.compile(r"(?<![\w.])-?[$€£]?\d[\d,]*(?:\.\d+)?(?:\s*/\s*\d+)?%?")
_log = logging.getLogger("apportion.tasks")


def after_mark(text: str) -> str | None:
    """Everything after the first ``####`` that starts a line; None without one, or if blank.

    The first one counts: what is written after an answer cannot replace it. Text up to the last
    ``</think>`` is passed over.
    """
    thinking = text.rfind("</think>")
    tail = text[thinking + len("</think>") :] if thinking >= 0 else text
    rest = tail[reasoning_end(tail) :].lstrip(" \t")
    content = rest.removeprefix(ANSWER_MARK).strip()
    return content or None


def extract_answer(text: str, *, last_number: bool = False) -> str | None:
    r"""The final answer as written, or None.

    In order: the line of the first ``####``; the last ``\boxed{...}``; with ``last_number`` the
    last number of the text.
    """
    marked = after_mark(text)
    if marked is not None:
        line = marked.split("\n", 1)[0].strip()
        return _boxed(line) or line
    boxed = _boxed(text)
    if boxed is not None:
        return boxed
    if last_number:
        numbers = _LAST_NUMBER.findall(text)
        return numbers[-1].rstrip(",") if numbers else None
    return None


def _boxed(text: str) -> str | None:
    """Content of the last ``\\boxed{...}`` whose braces close."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth = 0
    for position in range(start + len("\\boxed"), len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[start + len("\\boxed{") : position].strip() or None
    return None


@cache
def math_verify_installed() -> bool:
    """Whether answers that are no plain numbers can be compared (extra ``train`` brings it)."""
    found = importlib.util.find_spec("math_verify") is not None
    if not found:
        _log.warning(
            "math-verify is not installed: only numbers and fractions are compared, other gold "
            "answers stay undecided; pip install 'apportion[train]' to compare expressions"
        )
    return found


def grader() -> str:
    """What compares answers here, for records and reports."""
    return "exact, then math-verify" if math_verify_installed() else "exact only"


def same_answer(gold: str, answer: str | None, time_limit: float = TIME_LIMIT) -> bool | None:
    """Whether ``answer`` equals ``gold``; None where gold itself cannot be read.

    An answer that is missing, unreadable or too slow to compare is wrong.
    """
    gold_number = parse_number(gold)
    answer_number = parse_number(answer) if answer is not None else None
    if gold_number is not None and answer_number is not None:
        return same_number(gold_number, answer_number)
    if not gold.strip():
        return None
    if gold_number is not None and (answer is None or not _is_expression(answer)):
        return False
    if gold_number is None and answer is not None and _squeezed(gold) == _squeezed(answer):
        return True
    if not math_verify_installed():
        return None if gold_number is None else False
    if gold_number is None and not _readable(gold, time_limit):
        return None
    if answer is None:
        return False
    reply = shared_worker().ask({"do": "same", "gold": gold, "answer": answer}, time_limit)
    return reply is not Late and reply is True


@cache
def _readable(gold: str, time_limit: float) -> bool:
    if gold.count("{") != gold.count("}"):
        return False  # math-verify would read what is left of a text that was cut off
    reply = shared_worker().ask({"do": "readable", "gold": gold}, time_limit)
    return reply is not Late and reply is True


def _is_expression(text: str) -> bool:
    """Not plain words: else a text that merely mentions the number could be taken for it."""
    return re.search(r"[\\^*/+()]|\d\s*-", text) is not None and len(text) <= 300


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text).strip("$").lower()
