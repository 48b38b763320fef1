"""One update of an agent: policy gradient on its decisions, backpropagation through its thoughts.

_B  episodes    _M  groups
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from apportion.config import RunConfig
from apportion.errors import UserError
from apportion.trace import Problem
from apportion.train.agent.player import Episode, Player
from apportion.train.checkpoints import load_optimisation, save_optimisation
from apportion.train.latent.methods.outcome import group_advantages

_STATE = "agent_state.pt"


class AgentLearner:
    """AdamW on the policy's network and cell.

    An update plays ``train.group_size`` episodes of each problem and goes along
    (1/B) sum_b A_b sum_t grad log p(decision t of b | all before), A the group advantage of the
    return. A latent step is a function of what was read, so grad log p reaches all thoughts that
    led to a decision: with ``train.scale_rewards: none`` the expectation is (G - 1)/G times the
    gradient of the expected return, whatever the number of decisions. Raises UserError where a
    number is not finite.
    """

    def __init__(self, player: Player, config: RunConfig) -> None:
        self.player = player
        self.done = 0
        self.episodes: list[Episode] = []
        self._train = config.train
        self._every = config.agent.variance_every
        self._clip = config.latent.clip
        self._weights = [p for p in player.policy.model.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(
            self._weights, lr=config.train.learning_rate, weight_decay=config.latent.weight_decay
        )

    def update(self, problems: Sequence[Problem]) -> dict[str, float]:
        """Play and learn; returns metrics of docs/metrics.md. ``episodes`` are those played."""
        started = time.monotonic()
        train = self._train
        rows = [problem for problem in problems for _ in range(train.group_size)]
        self.episodes = self.player.play(rows, temperature=train.temperature)
        returns = [episode.turn.score for episode in self.episodes]
        scale = train.scale_rewards == "group"
        advantages = group_advantages(returns, train.group_size, scale=scale)
        losses = group_losses(self.episodes, advantages, train.group_size)
        measured = {}
        if self._every and self.done % self._every == 0 and len(losses) > 1:
            measured = gradient_variance(losses, self._weights)
        self._optimizer.zero_grad()
        loss = torch.stack(losses).mean()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self._weights, self._clip or math.inf).item()
        if not (math.isfinite(norm) and math.isfinite(loss.item())):
            raise UserError(
                f"update {self.done + 1}: the gradient is not finite: lower train.learning_rate, "
                "or try latent.norm embedding or a gated latent.cell"
            )
        rate = train.learning_rate * min(1.0, (self.done + 1) / max(1, train.warmup_updates))
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self.done += 1
        return (
            episode_figures(self.episodes, train.group_size)
            | measured
            | {
                "train/loss": loss.item(),
                "train/grad_norm": norm,
                "train/learning_rate": rate,
                "train/seconds": time.monotonic() - started,
            }
        )

    def save(self, folder: Path) -> None:
        """Write policy, optimiser and random numbers."""
        self.player.policy.save(folder)
        save_optimisation(folder / _STATE, self.done, optimizer=self._optimizer)

    def load(self, folder: Path) -> None:
        """Go on from what ``save`` wrote. The policy has to be read from the folder as well."""
        self.done = load_optimisation(folder / _STATE, optimizer=self._optimizer)


def group_losses(episodes: Sequence[Episode], advantages_B: Tensor, group: int) -> list[Tensor]:
    """For each group the mean of -A log p over its episodes; their mean is the loss."""
    terms = [
        -advantage * episode.logprob
        for episode, advantage in zip(episodes, advantages_B.tolist(), strict=True)
    ]
    return [torch.stack(terms[i : i + group]).mean() for i in range(0, len(terms), group)]


def gradient_variance(losses: Sequence[Tensor], weights: Sequence[Tensor]) -> dict[str, float]:
    """``agent/gradient_variance``: the trace of the covariance of one group's gradient, from the M
    of this update; ``agent/gradient_signal``: the squared norm of its mean, unbiased (it can come
    out below zero). The graph is kept."""
    total = [torch.zeros_like(weight) for weight in weights]
    squares, count = 0.0, len(losses)
    for loss in losses:
        found = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
        for sum_, gradient in zip(total, found, strict=True):
            if gradient is not None:
                sum_ += gradient
                squares += gradient.square().sum().item()
    mean_square = sum(sum_.square().sum().item() for sum_ in total) / count**2
    variance = (squares - count * mean_square) / (count - 1)
    return {
        "agent/gradient_variance": variance,
        "agent/gradient_signal": mean_square - variance / count,
    }


def episode_figures(episodes: Sequence[Episode], group: int) -> dict[str, float]:
    """What an update's episodes were like."""
    returns = torch.tensor([episode.turn.score for episode in episodes])
    groups = returns.unflatten(0, (-1, group))
    count = len(episodes)
    return {
        "reward/mean": returns.mean().item(),
        "reward/std": returns.std(correction=0).item(),
        "reward/equal_groups": (groups == groups[:, :1]).all(1).float().mean().item(),
        "agent/decisions": sum(e.decisions for e in episodes) / count,
        "agent/turns": sum(len(e.actions) for e in episodes) / count,
        "agent/thoughts": sum(e.thoughts for e in episodes) / count,
    }
