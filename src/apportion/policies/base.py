"""The policy protocol: problems in, rollouts out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from apportion.trace import Problem, Rollout


class Policy(Protocol):
    """Samples chains of thought.

    ``sample`` returns ``n`` rollouts for each problem, in order, those of one problem together
    (one group). Temperature 0 is greedy. The same seed gives the same rollouts. ``reasoning_end``
    says where a completion's reasoning stops; tasks provide it.
    """

    name: str

    def sample(
        self,
        problems: Sequence[Problem],
        *,
        n: int = 1,
        temperature: float = 1.0,
        max_tokens: int = 256,
        seed: int = 0,
        reasoning_end: Callable[[str], int] = len,
    ) -> list[Rollout]: ...


def rollout_id(problem: Problem, seed: int, index: int) -> str:
    """Names the ``index``-th completion of a problem under a seed."""
    return f"{problem.id}/s{seed}/{index}"
