"""One update by evolution strategies: perturb, evaluate, and step along the rewarded noise.

theta <- theta + alpha / N * sum_i u_i eps_i with u the shaped rewards of theta + sigma eps_i
(Salimans et al. 2017, arXiv 1703.03864; on all weights of a language model: arXiv 2509.24372).
With shaping ``none`` the sum estimates the gradient of E[R(theta + sigma eps)].
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from apportion.config import RunConfig
from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.trace import Problem, Rollout
from apportion.train.checkpoints import save_state
from apportion.train.evolution.fitness import Fitness, Reward
from apportion.train.evolution.noise import Member, members
from apportion.train.evolution.perturbed import PerturbedWeights
from apportion.train.evolution.shaping import shape

_STATE = "evolution_state.pt"


class EvolutionLearner:
    """Evolution strategies on the weights of ``policy`` that require a gradient.

    Raises UserError where a reward is not finite; the weights are then those before the update.
    """

    def __init__(
        self, policy: LanguageModelPolicy, reward: Reward, config: RunConfig, seed: int
    ) -> None:
        settings = config.evolution
        self.policy = policy
        self.done = 0
        self.weights = PerturbedWeights(policy.model, settings.sigma, seed)
        self.rollouts: list[Rollout] = []
        self._reward = reward
        self._settings = settings
        self._rate = config.train.learning_rate
        self._members = members(settings.population, antithetic=settings.noise == "antithetic")

    def update(self, problems: Sequence[Problem]) -> dict[str, float]:
        """Learn from these problems; returns the metrics of docs/metrics.md. ``rollouts`` then
        holds what was sampled."""
        started = time.monotonic()
        update = self.done + 1
        found = self._evaluate(problems, update)
        rewards = [fitness.reward for fitness in found]
        try:
            utilities = shape(rewards, self._settings.shaping, self._settings.sigma)
        except UserError as error:
            raise UserError(f"update {update}: {error}") from None
        moved = self.weights.step(update, self._members, utilities, self._rate)
        self.done = update
        self.rollouts = [
            rollout.model_copy(
                update={
                    "id": f"u{update}/m{number}/{index}",
                    "meta": {"perturbation": member.number, "sign": member.sign},
                }
            )
            for number, (member, fitness) in enumerate(zip(self._members, found, strict=True))
            for index, rollout in enumerate(fitness.rollouts)
        ]
        return {
            "reward/mean": float(np.mean(rewards)),
            "reward/std": float(np.std(rewards)),
            "evolution/best": float(np.max(rewards)),
            "evolution/equal_rewards": float(not utilities.any()),
            "evolution/step": moved,
            "evolution/step_over_sigma": moved / self._settings.sigma,
            "evolution/tokens": float(sum(fitness.tokens for fitness in found)),
            "train/length": float(np.mean([fitness.length for fitness in found])),
            "train/seconds": time.monotonic() - started,
        }

    def save(self, folder: Path) -> None:
        """Write the model and the master copy. Noise and data follow from the number of updates
        done."""
        self.policy.save(folder)
        save_state(folder / _STATE, {"master": self.weights.master}, self.done)

    def load(self, folder: Path) -> None:
        """Go on from what ``save`` wrote."""
        state: dict[str, Any] = torch.load(folder / _STATE, weights_only=True)
        if state["master"].keys() != self.weights.master.keys():
            raise UserError(f"{folder}: the checkpoint is of other weights than this policy's")
        for name, master in state["master"].items():
            self.weights.master[name].copy_(master)
        self.weights.restore()
        self.done = state["done"]

    def _evaluate(self, problems: Sequence[Problem], update: int) -> list[Fitness]:
        found: list[Fitness] = []
        if self._settings.parallel == 1:
            for member in self._members:
                with self.weights.at(update, member):
                    found.append(self._reward.one(problems, update))
            return found
        for group in _groups(self._members, self._settings.parallel):
            found += self._reward.many(self.weights.stacked(update, group), problems, update)
        return found


def _groups(population: Sequence[Member], size: int) -> list[tuple[Member, ...]]:
    return [tuple(population[i : i + size]) for i in range(0, len(population), size)]
