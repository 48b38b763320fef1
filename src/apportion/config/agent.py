"""What the objective ``agent`` can be told."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from apportion.config.latent import LatentConfig
from apportion.config.section import Section
from apportion.errors import UserError


class AgentConfig(Section):
    """Objective agent: episodes of an environment (task ``rooms`` or ``textworld``), in which each
    turn is thought about before an action is chosen among those that are possible.

    ``thought`` "latent" takes ``latent.steps`` latent steps a turn, which are differentiated: only
    actions are decisions of reinforcement learning. "text" samples up to ``thought_tokens`` tokens,
    each of which is one; "none" acts at once. ``carry`` says what later turns see of the thoughts
    of earlier ones: "none", the "latents" (or written thoughts), or with "memory" also what the
    cell carries from step to step.

    The agent first imitates the scripted player on ``plays`` problems, for at most
    ``imitation_updates`` of ``imitation_batch`` plays each, or until its greedy return on
    ``check_problems`` held-out problems reaches ``imitate_until``, looked at every ``check_every``.
    ``start`` "fresh" begins with a new model of ``hidden_size`` and ``layers`` and a tokenizer made
    from scripted plays, "policy" with ``policy``. Every ``variance_every`` updates the variance of
    the gradient is measured (0: never).
    """

    thought: Literal["latent", "text", "none"] = "latent"
    thought_tokens: int = Field(default=16, ge=1)
    carry: Literal["none", "latents", "memory"] = "latents"
    start: Literal["fresh", "policy"] = "fresh"
    hidden_size: int = Field(default=64, ge=8)
    layers: int = Field(default=2, ge=1)
    plays: int = Field(default=2000, ge=1)
    imitation_updates: int = Field(default=200, ge=0)
    imitation_batch: int = Field(default=32, ge=1)
    imitation_rate: float = Field(default=2e-3, gt=0)
    imitate_until: float = Field(default=0.5, gt=0, le=1)
    check_every: int = Field(default=20, ge=1)
    check_problems: int = Field(default=64, ge=1)
    variance_every: int = Field(default=0, ge=0)

    def check(self, latent: LatentConfig, epochs: int, reward: str) -> None:
        """Raise UserError where the rest of the configuration does not fit."""
        if reward != "outcome":
            raise UserError(
                f"reward.kind {reward}: objective agent is paid by its environment: leave it out"
            )
        if epochs != 1:
            raise UserError("train.epochs: objective agent learns from an episode once: use 1")
        for name in ("window", "truncate", "recompute", "gradient_norm", "learning"):
            unused = LatentConfig.model_fields[name].default
            if getattr(latent, name) != unused:
                raise UserError(
                    f"latent.{name}: objective agent backpropagates through whole episodes and "
                    "has no such choice: leave it out"
                )
        if self.thought == "latent" and not latent.steps:
            raise UserError("latent.steps: 0 is no thought: use agent.thought: none, or 1 or more")

    @model_validator(mode="after")
    def _memory_is_latent(self) -> Self:
        if self.carry == "memory" and self.thought != "latent":
            raise ValueError(f"carry memory is of latent thought: {self.thought} has no cell")
        return self
