"""Faithfulness that is measured while training."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from apportion.config.section import Section
from apportion.errors import UserError

# Objectives whose policy is watched while it learns.
PROBED = (
    "credit",
    "sft",
    "evolution",
    "trice",
    "star",
    "rejection",
    "sft_on_edits",
    "dpo_on_edits",
    "latent",
)


class ProbeConfig(Section):
    """Every ``every`` updates (0: never), before the first and after the last, ``measures`` are
    taken on greedy chains of ``problems`` held-out problems of ``split``; see
    ``apportion ls measures``.

    A measure is a name, or a mapping of ``name`` and its options. ``until`` ends a measure early
    once its 95 % interval is at most that far to either side. With ``sample_only`` probabilities
    are not used. ``records`` also keeps the chains and what was found of each.
    """

    every: int = Field(default=0, ge=0)
    measures: tuple[dict[str, Any] | str, ...] = ("early_answering", "step_deletion")
    problems: int = Field(default=100, ge=1)
    split: Literal["validation", "test"] = "validation"
    until: float | None = Field(default=None, gt=0)
    sample_only: bool = False
    records: bool = True

    def check(self, objective: str) -> None:
        """Raise UserError for an objective that does not train a policy on text."""
        if self.every and objective not in PROBED:
            raise UserError(
                f"probe.every: objective {objective} trains no chain of text that is watched: use "
                "0, and 'apportion probe' afterwards"
            )
