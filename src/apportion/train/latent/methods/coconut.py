"""Coconut's curriculum: written steps give way to latents, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from apportion.config.latent_methods import CoconutMethod
from apportion.errors import UserError
from apportion.policies.latent.policy import LatentPolicy
from apportion.train.latent.methods.base import LatentMethod
from apportion.train.latent.methods.example import Example, Target


class Coconut(LatentMethod):
    """See ``config.latent_methods.CoconutMethod``.

    In stage s a question gets s x ``per_step`` latents, however many steps it has, and its written
    steps from the (s + 1)-th on; in the last stage none. Raises UserError where ``steps`` is no
    multiple of ``per_step``, or where ``updates`` end before the last stage begins.
    """

    reads_text = True

    def __init__(
        self, policy: LatentPolicy, options: CoconutMethod, steps: int, updates: int
    ) -> None:
        super().__init__(policy)
        if not steps or steps % options.per_step:
            raise UserError(
                f"latent.steps: coconut replaces each step by {options.per_step} latents, and "
                f"{steps} is no multiple of it above 0"
            )
        self._options = options
        self._last = steps // options.per_step
        if options.first_stage > self._last:
            raise UserError(
                f"latent.learning.first_stage: {steps} latent steps make stages 0 to {self._last}, "
                f"not {options.first_stage}"
            )
        needed = (self._last - options.first_stage) * options.updates_per_stage
        if updates <= needed:
            raise UserError(
                f"train.updates: {updates} updates end before the last of {self._last} stages, "
                f"which begins after {needed}: give more, or lower latent.steps or "
                "latent.learning.updates_per_stage"
            )
        self.stage = options.first_stage

    def begin(self, done: int) -> bool:
        options = self._options
        stage = options.first_stage + done // options.updates_per_stage
        self.stage = min(stage, self._last)
        self.model.steps = self.stage * options.per_step
        return stage == self.stage and done > 0 and done % options.updates_per_stage == 0

    def positions(self, example: Example) -> int:
        return len(example.question) + max(
            stage * self._options.per_step + len(self._rest(example, stage))
            for stage in range(self._last + 1)
        )

    def targets(self, examples: Sequence[Example]) -> list[Target]:
        return [self._at(example, self._stage_of_one()) for example in examples]

    def _stage_of_one(self) -> int:
        # Without a share nothing is drawn, so that runs with and without stay comparable.
        if not self._options.uniform or torch.rand(()).item() >= self._options.uniform:
            return self.stage
        return int(torch.randint(self._last + 1, ()).item())

    def _at(self, example: Example, stage: int) -> Target:
        latents = stage * self._options.per_step
        return Target(example.question, self._rest(example, stage), latents, example)

    def _rest(self, example: Example, stage: int) -> list[int]:
        """What is still written in a stage."""
        written = example.steps[stage:] if stage < self._last else ()
        return [token for step in written for token in step] + example.answer
