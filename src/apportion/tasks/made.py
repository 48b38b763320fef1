"""What tasks share that make up their problems: options that are ranges, and the split."""

from __future__ import annotations

from apportion.tasks.base import Split
from apportion.tasks.stable import split_of

_FIFTHS: tuple[Split, ...] = ("train", "train", "train", "validation", "test")


def split_by_hash(what: str) -> Split:
    """Three fifths of all texts belong to train, one to validation and one to test."""
    return split_of(what, _FIFTHS)


def check_range(value: tuple[int, int], low: int, high: int) -> tuple[int, int]:
    """``value``, two ends of a range. Raises ValueError unless low <= first <= second <= high."""
    if not low <= value[0] <= value[1] <= high:
        raise ValueError(f"{list(value)} is not [low, high] with {low} <= low <= high <= {high}")
    return value
