"""Which problems an update learns from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch

from apportion.errors import UserError
from apportion.tasks import Task
from apportion.trace import Problem

T = TypeVar("T")


def training_problems(task: Task, count: int, seed: int) -> list[Problem]:
    """Up to ``count`` problems. Raises UserError where the task has none to train on."""
    problems = task.problems("train", count, seed)
    if not problems:
        raise UserError("task: no training problems (check its path, split and size)")
    return problems


def in_turn(items: Sequence[T], size: int, update: int) -> list[T]:
    """The batch of an update, counted from 1: the items in order, again and again."""
    first = (update - 1) * size
    return [items[i % len(items)] for i in range(first, first + size)]


def batches(items: Sequence[T], size: int, seed: int) -> Iterator[list[T]]:
    """Batches without end: the items in order, then again and again in another order."""
    generator = torch.Generator().manual_seed(seed)
    order = list(range(len(items)))
    queue: list[int] = []
    while True:
        while len(queue) < size:
            queue += order
            order = torch.randperm(len(items), generator=generator).tolist()
        yield [items[i] for i in queue[:size]]
        queue = queue[size:]
