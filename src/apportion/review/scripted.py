"""A reviewer that says what it was told to say: for tests, examples and replays."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from apportion.errors import UserError
from apportion.review.labels import read_reviews
from apportion.trace import Problem, Review, Step, StepVerdict

Script = Callable[
    [Problem, str, Sequence[Step], int],
    Sequence[StepVerdict] | Awaitable[Sequence[StepVerdict]],
]


class ScriptedReviewer:
    """Replays verdicts. ``script`` is one of

    - a callable ``(problem, text, steps, critique) -> verdicts`` for the given steps, plain or
      async; what it raises, the review raises;
    - a mapping from rollout id to verdicts, the same for every critique;
    - recorded Reviews, replayed by rollout id and critique with the cut that they were made for.

    ``delay`` (seconds) passes before each answer. A rollout without a script gives a failed
    review. ``calls`` counts the reviews asked for, ``at_once`` the most that were in progress
    together.
    """

    def __init__(
        self,
        script: Script | Mapping[str, Sequence[StepVerdict]] | Sequence[Review],
        *,
        critiques: int = 1,
        delay: float = 0.0,
        name: str = "scripted",
    ) -> None:
        self.name, self.critiques, self.delay = name, critiques, delay
        self.calls, self.at_once, self._running = 0, 0, 0
        self._script: Script | None = None
        self._verdicts: Mapping[str, Sequence[StepVerdict]] = {}
        self._reviews: dict[tuple[str, int], Review] = {}
        if callable(script):
            self._script = script
        elif isinstance(script, Mapping):
            self._verdicts = script
        else:
            self._reviews = {(r.rollout_id, r.critique): r for r in script}

    @classmethod
    def from_file(
        cls, path: Path, *, recorded: str | None = None, delay: float = 0.0, name: str = "scripted"
    ) -> ScriptedReviewer:
        """Replay ``reviews.jsonl`` of a run; ``recorded`` names the reviewer to replay where the
        file holds several. Raises UserError for an unreadable file, or an ambiguous one."""
        reviews = read_reviews(path)
        names = sorted({review.reviewer for review in reviews})
        if recorded is None and len(names) > 1:
            raise UserError(
                f"{path} holds the reviews of {', '.join(names)}: say which with 'recorded'"
            )
        kept = [r for r in reviews if recorded is None or r.reviewer == recorded]
        if not kept:
            raise UserError(f"{path} holds no review of '{recorded}', only of {', '.join(names)}")
        critiques = 1 + max(review.critique for review in kept)
        return cls(kept, critiques=critiques, delay=delay, name=name)

    async def review(
        self,
        problem: Problem,
        rollout_text: str,
        steps: Sequence[Step],
        outcome: float | None,
        *,
        rollout_id: str = "",
        critique: int = 0,
    ) -> Review:
        self.calls += 1
        self._running += 1
        self.at_once = max(self.at_once, self._running)
        try:
            if self.delay:
                await asyncio.sleep(self.delay)
            recorded = self._reviews.get((rollout_id, critique))
            if recorded is not None:
                return recorded.model_copy(update={"reviewer": self.name})
            verdicts = self._verdicts.get(rollout_id)
            if self._script is not None:
                said = self._script(problem, rollout_text, steps, critique)
                verdicts = await said if inspect.isawaitable(said) else said
        finally:
            self._running -= 1
        if verdicts is None:
            return Review(
                rollout_id=rollout_id,
                reviewer=self.name,
                critique=critique,
                error=f"nothing is scripted for rollout '{rollout_id}', critique {critique}",
            )
        return Review(
            rollout_id=rollout_id,
            reviewer=self.name,
            critique=critique,
            steps=tuple(steps),
            verdicts=tuple(verdicts),
        )
