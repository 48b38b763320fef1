"""Learning what each reviewer is worth, while training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from apportion.config.section import Section


class MetalearningConfig(Section):
    """Blocks of ``every`` updates (0: off) tell which reviewers' credit helps; see
    ``apportion.consensus.bandit`` for ``method`` to ``prior_sd``.

    After each block ``samples`` completions of each of ``problems`` validation problems are drawn;
    the change of their accuracy is the block's gain.
    """

    every: int = Field(default=0, ge=0)
    problems: int = Field(default=64, ge=2)
    samples: int = Field(default=4, ge=1)
    method: Literal["elimination", "thompson"] = "elimination"
    cycles: int = Field(default=3, ge=1)
    min_blocks: int = Field(default=2, ge=1)
    drop_below: float = Field(default=0.05, ge=0, lt=0.5)
    keep: int = Field(default=1, ge=0)
    control: bool = False
    prior_sd: float = Field(default=0.05, gt=0)

    def check(self, reviewers: int, epochs: int, rule: str, min_votes: int) -> None:
        """Raise ValueError where the rest of the configuration leaves nothing to learn from:
        blocks are given to one reviewer at a time."""
        if not self.every:
            return
        if self.every % epochs:
            raise ValueError(
                f"metalearning.every {self.every} is not a multiple of train.epochs {epochs}: a "
                "block would end between two updates on the same completions"
            )
        if reviewers < 2 and not self.control:
            raise ValueError("metalearning needs two reviewers or more, or control: true")
        if rule == "dawid_skene" or min_votes > 1:
            raise ValueError(
                "metalearning gives blocks to one reviewer at a time: use another consensus.rule "
                "than dawid_skene, and min_reviews and min_families 1"
            )
