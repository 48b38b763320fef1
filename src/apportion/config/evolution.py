"""What the objective ``evolution`` can be told."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from apportion.config.section import Section
from apportion.errors import UserError


class EvolutionConfig(Section):
    """Objective evolution: evolution strategies on the weights, without a gradient. An update
    tries ``population`` perturbations of standard deviation ``sigma`` on the same
    ``train.prompts_per_update`` problems and moves by ``train.learning_rate`` along the mean of
    shaped reward times noise; see ``apportion.train.evolution.evolution_update``.

    ``reward`` "outcome" is the task's score, of the greedy completion or of ``samples``
    completions a problem; "likelihood" is the log-probability of a ``reference``, the gold
    solution or its final answer alone, and samples nothing. ``noise`` "antithetic" tries every
    perturbation with both signs. ``shaping`` "rank" uses centred ranks, "zscore" the standardised
    rewards, "none" rewards less their mean over sigma: the step is then along the gradient of the
    smoothed reward.

    ``parallel`` perturbations are evaluated in one batch: less time where batches are small, more
    memory. ``lora`` (options of peft.LoraConfig) perturbs an adapter and leaves the rest alone.
    """

    reward: Literal["outcome", "likelihood"] = "outcome"
    reference: Literal["solution", "answer"] = "solution"
    population: int = Field(default=16, ge=1)
    noise: Literal["antithetic", "iid"] = "antithetic"
    sigma: float = Field(default=0.003, gt=0)
    shaping: Literal["rank", "zscore", "none"] = "rank"
    samples: int = Field(default=0, ge=0)
    parallel: int = Field(default=1, ge=1)
    lora: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _enough_members(self) -> Self:
        if self.population < 2:
            raise ValueError(
                "population 1 has nothing to compare its reward with: use 2 or more perturbations"
            )
        if self.noise == "antithetic" and self.population % 2:
            raise ValueError(
                f"population {self.population} is odd, and antithetic noise comes in pairs: use "
                f"{self.population + 1}, or noise: iid"
            )
        if self.samples and self.reward == "likelihood":
            raise ValueError("samples: reward likelihood samples nothing: leave it out")
        return self

    @staticmethod
    def check(epochs: int) -> None:
        """Raise UserError where the rest of the configuration does not fit."""
        if epochs != 1:
            raise UserError("train.epochs: objective evolution learns from a batch once: use 1")
