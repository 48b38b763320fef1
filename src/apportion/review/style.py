"""A reviewer of style: it likes chains that check themselves, or chains that do not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator

from apportion.trace import Problem, Review, Step, StepVerdict


class StyleOptions(BaseModel):
    """``likes`` is the style; ``check`` a regular expression that a check begins with, letter case
    ignored; the name defaults to the style."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    likes: Literal["terse", "checked"]
    check: str = r"check\b"
    name: str | None = None

    @field_validator("check")
    @classmethod
    def _readable(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"'{value}' is no regular expression: {error}") from None
        return value


class StyleReviewer:
    """Deterministic and offline. A *check* is a step that begins with ``check``.

    ``terse`` calls a check irrelevant and every other step useful. ``checked`` calls a check
    useful, and any other step useful only where a check follows it, else irrelevant. Neither says
    whether a step is true: to steer a policy's style, beside reviewers who judge its reasoning.
    """

    critiques = 1
    max_concurrency = 1  # it never waits, so a second review at once would only wait for the first

    def __init__(self, options: StyleOptions) -> None:
        self.likes, self.name = options.likes, options.name or options.likes
        self._check = re.compile(options.check, re.IGNORECASE)

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
        checks = self.checks(rollout_text, steps)
        return Review(
            rollout_id=rollout_id,
            reviewer=self.name,
            critique=critique,
            steps=tuple(steps),
            verdicts=tuple(self._verdict(checks, index) for index in range(len(steps))),
        )

    def checks(self, text: str, steps: Sequence[Step]) -> list[bool]:
        """Which steps are checks."""
        return [self._check.match(step.text(text).lstrip()) is not None for step in steps]

    def _verdict(self, checks: Sequence[bool], index: int) -> StepVerdict:
        followed = index + 1 < len(checks) and checks[index + 1]
        if self.likes == "terse":
            if checks[index]:
                return StepVerdict(label="irrelevant", reason="a check, which a terse chain omits")
            return StepVerdict(label="useful", reason="to the point")
        if checks[index]:
            return StepVerdict(label="useful", reason="checks what was written")
        if followed:
            return StepVerdict(label="useful", reason="is checked by the next step")
        return StepVerdict(label="irrelevant", reason="is not checked")
