"""Fits a network that says a number at each token: a critic, or a token reward model.

_B  completions    _T  tokens of the longest of them
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from apportion.config.token_model import TokenModelConfig
from apportion.credit.critic import Critic, gae
from apportion.errors import UserError
from apportion.policies.token_head import TokenHead


class Seen(NamedTuple):
    """A completion with its outcome. ``weight`` scales its part of the loss, and tokens where
    ``mask`` is False (a tool's) are not learned from."""

    prompt: list[int]
    completion: list[int]
    mask: list[bool]
    outcome: float
    group: str
    weight: float = 1.0


# Scores and mask (B, T), and the completions, to the loss of each (B,).
Loss = Callable[[torch.Tensor, torch.Tensor, Sequence[Seen]], torch.Tensor]


def value_loss(method: Critic) -> Loss:
    """Half the mean squared distance from the returns: ``gae`` with ``value_lam`` plus the values,
    which is the (discounted) outcome at 1."""

    def loss(scores_BT: torch.Tensor, mask_BT: torch.Tensor, seen: Sequence[Seen]) -> torch.Tensor:
        targets_BT = torch.zeros_like(scores_BT)
        for b, one in enumerate(seen):
            values_T = scores_BT[b][mask_BT[b]].detach().double().cpu().numpy()
            gains_T = gae(one.outcome, values_T, gamma=method.gamma, lam=method.value_lam)
            targets_BT[b, mask_BT[b]] = torch.from_numpy(gains_T + values_T).to(targets_BT)
        squares_BT = 0.5 * (scores_BT - targets_BT) ** 2 * mask_BT
        return squares_BT.sum(1) / mask_BT.sum(1).clamp(min=1)

    return loss


def outcome_loss(
    scores_BT: torch.Tensor, mask_BT: torch.Tensor, seen: Sequence[Seen]
) -> torch.Tensor:
    """Cross-entropy of sigmoid(mean score of a completion) with whether it was right."""
    means_B = (scores_BT * mask_BT).sum(1) / mask_BT.sum(1).clamp(min=1)
    right_B = torch.tensor([float(one.outcome >= 0.5) for one in seen], device=means_B.device)
    return torch.nn.functional.binary_cross_entropy_with_logits(means_B, right_B, reduction="none")


def balanced(seen: Sequence[Seen]) -> list[Seen]:
    """The completions of groups with both outcomes, weighted so that the right and the wrong of a
    group count one each: what drawing one of each is on average."""
    groups: dict[str, list[list[Seen]]] = defaultdict(lambda: [[], []])
    for one in seen:
        groups[one.group][one.outcome >= 0.5].append(one)
    return [
        one._replace(weight=1 / len(side))
        for sides in groups.values()
        for side in sides
        for one in side
        if all(sides)
    ]


class TokenLearner:
    """AdamW on the trainable weights of ``model``; ``done`` counts the steps.

    Raises UserError where the loss is not finite.
    """

    def __init__(self, model: TokenHead, settings: TokenModelConfig, loss: Loss, seed: int) -> None:
        self.model, self.done = model, 0
        self._settings, self._loss, self._seed = settings, loss, seed
        self._weights = [p for p in model.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(
            self._weights, lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.0
        )
        self._order = np.random.default_rng(seed)

    def fit(self, seen: Sequence[Seen], steps: int) -> float | None:
        """``steps`` batches, drawn in a new order whenever all were seen; the mean loss of the
        last ten. None where there is nothing to learn from."""
        if not seen or not steps:
            return None
        losses: list[float] = []
        queue: list[int] = []
        size = min(self._settings.batch_size, len(seen))
        for _ in range(steps):
            while len(queue) < size:
                queue += self._order.permutation(len(seen)).tolist()
            losses.append(self.step([seen[i] for i in queue[:size]]))
            queue = queue[size:]
        return sum(losses[-10:]) / len(losses[-10:])

    def step(self, seen: Sequence[Seen]) -> float:
        """One step on all of these; the weighted mean loss."""
        self.model.train()
        self._optimizer.zero_grad()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed * 1_000_003 + self.done)  # dropout, also after a resume
            scores_BT = self.model([one.prompt for one in seen], [one.completion for one in seen])
            losses_B = self._loss(scores_BT, _masks(seen, scores_BT), seen)
            weights_B = torch.tensor([one.weight for one in seen], device=losses_B.device)
            loss = (weights_B * losses_B).sum() / weights_B.sum()
            loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self._weights, self._settings.clip or math.inf)
        if not (math.isfinite(loss.item()) and math.isfinite(norm.item())):
            raise UserError(
                f"token_model: the loss is {loss.item()}: lower token_model.learning_rate"
            )
        self._optimizer.step()
        self.model.eval()
        self.done += 1
        return loss.item()

    def save(self, file: Path, **more: Any) -> None:
        """Write weights, optimiser and order into ``file``, with ``more`` that torch can read."""
        state = {
            "weights": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "order": self._order.bit_generator.state,
            "done": self.done,
        }
        torch.save(state | more, file)

    def load(self, file: Path) -> dict[str, Any]:
        """Go on from what ``save`` wrote; gives all of it."""
        state = torch.load(file, weights_only=True, map_location="cpu")
        self.model.load_state_dict(state["weights"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._order.bit_generator.state = state["order"]
        self.done = state["done"]
        return state


def _masks(seen: Sequence[Seen], scores_BT: torch.Tensor) -> torch.Tensor:
    width = scores_BT.shape[1]
    rows = [[*one.mask, *[False] * (width - len(one.mask))] for one in seen]
    return torch.tensor(rows, device=scores_BT.device)
