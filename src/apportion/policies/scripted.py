"""A policy that says what it was told to say. Ships in the package: for tests and docs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from apportion.policies.base import rollout_id
from apportion.trace import Problem, Rollout


class ScriptedPolicy:
    """Replays completions: a list that is cycled through, or a mapping from problem id or prompt.

    Tokens are the characters' code points, one token a character.
    """

    def __init__(
        self, completions: Sequence[str] | Mapping[str, str], name: str = "scripted"
    ) -> None:
        self.name = name
        self._completions = completions
        self._next = 0

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
        rollouts = []
        for problem in problems:
            for index in range(n):
                whole = self._completion(problem)
                text = whole[:max_tokens]
                rollouts.append(
                    Rollout(
                        id=rollout_id(problem, seed, index),
                        problem=problem,
                        text=text,
                        token_ids=tuple(ord(c) for c in text),
                        token_spans=tuple((i, i + 1) for i in range(len(text))),
                        reasoning_end=reasoning_end(text),
                        policy=self.name,
                        group=problem.id,
                        finish="stop" if text == whole else "length",
                    )
                )
        return rollouts

    def _completion(self, problem: Problem) -> str:
        if isinstance(self._completions, Mapping):
            return self._completions.get(problem.id, self._completions.get(problem.prompt, ""))
        text = self._completions[self._next % len(self._completions)]
        self._next += 1
        return text
