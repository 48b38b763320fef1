"""Two policies as one: a known share of the problems goes to each. Ground truth for rates."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from apportion.errors import UserError
from apportion.trace import Problem, Rollout

if TYPE_CHECKING:
    from apportion.policies.continuation import Prefix
    from apportion.policies.language_model import LanguageModelPolicy


class MixedPolicy:
    """``second`` answers a share ``rate`` of the problems, ``first`` the others; which is which
    depends on the problem's id alone, so that a chain is continued by who began it. Raises
    UserError for a rate outside [0, 1]."""

    def __init__(
        self, first: LanguageModelPolicy, second: LanguageModelPolicy, rate: float, name: str = ""
    ) -> None:
        if not 0 <= rate <= 1:
            raise UserError(f"rate {rate} of a mixture is not within 0 and 1")
        self.members = (first, second)
        self.rate = rate
        self.name = name or f"{first.name}+{rate:g}*{second.name}"

    def member(self, problem: Problem) -> int:
        """0 or 1: whose problem it is."""
        return int(random.Random(f"mixture {problem.id}").random() < self.rate)

    def sample(
        self,
        problems: Sequence[Problem],
        *,
        n: int = 1,
        temperature: float = 1.0,
        max_tokens: int = 256,
        seed: int = 0,
        reasoning_end: Callable[[str], int] = len,
    ) -> list[Rollout]:
        """See Policy.sample."""
        options: dict[str, Any] = {"n": n, "temperature": temperature, "max_tokens": max_tokens}
        found: list[list[Rollout]] = [[] for _ in problems]
        for which, policy in enumerate(self.members):
            own = [i for i, problem in enumerate(problems) if self.member(problem) == which]
            rollouts = policy.sample(
                [problems[i] for i in own], seed=seed, reasoning_end=reasoning_end, **options
            )
            for place, i in enumerate(own):
                found[i] = rollouts[place * n : (place + 1) * n]
        return [r.model_copy(update={"policy": self.name}) for rs in found for r in rs]

    def continue_texts(self, prefixes: Sequence[Prefix], **options: Any) -> list[list[str]]:
        """See continue_chains."""
        from apportion.policies.continuation import continue_chains

        found: list[list[str]] = [[] for _ in prefixes]
        for own, policy in self._shares(prefixes):
            texts = continue_chains(policy, [prefixes[i] for i in own], **options) if own else []
            for i, continued in zip(own, texts, strict=True):
                found[i] = continued
        return found

    def score_texts(self, prefixes: Sequence[Prefix], texts: Sequence[str]) -> list[float]:
        """See apportion.policies.continuation.score_texts."""
        from apportion.policies.continuation import score_texts

        found = [0.0] * len(prefixes)
        for own, policy in self._shares(prefixes):
            scores = score_texts(policy, [prefixes[i] for i in own], [texts[i] for i in own])
            for i, score in zip(own, scores, strict=True):
                found[i] = score
        return found

    def _shares(self, prefixes: Sequence[Prefix]) -> list[tuple[list[int], LanguageModelPolicy]]:
        return [
            ([i for i, p in enumerate(prefixes) if self.member(p.problem) == which], policy)
            for which, policy in enumerate(self.members)
        ]
