"""The written solution, without latent steps: supervised training on chains of thought."""

from __future__ import annotations

from collections.abc import Sequence

from apportion.policies.latent.policy import LatentPolicy
from apportion.train.latent.methods.base import LatentMethod
from apportion.train.latent.methods.example import Example, Target


class Text(LatentMethod):
    """See ``config.latent_methods.TextMethod``."""

    reads_text = True

    def __init__(self, policy: LatentPolicy) -> None:
        super().__init__(policy)
        policy.model.steps = 0

    def positions(self, example: Example) -> int:
        return len(example.question) + len(example.text) + len(example.answer)

    def targets(self, examples: Sequence[Example]) -> list[Target]:
        return [Target(e.question, e.text + e.answer, 0, e) for e in examples]
