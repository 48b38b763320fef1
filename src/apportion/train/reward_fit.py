"""Fitting a reward model to grades, and measuring it on grades that it was not fitted to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from apportion.config import RunConfig
from apportion.errors import UserError
from apportion.faithfulness.monitorability import separation
from apportion.policies.reward_model import Answered, RewardModel
from apportion.stats import Estimate, mean, share, stratified_bootstrap
from apportion.train.checkpoints import save_state

_STATE = "reward_model_state.pt"


class Graded(NamedTuple):
    """A completion and the task's score of it, 0 to 1."""

    answered: Answered
    grade: float


def squared_error(scores_B: torch.Tensor, grades_B: torch.Tensor) -> torch.Tensor:
    """The mean of (score - grade)^2. Raises UserError for no completions and where the mean is not
    finite."""
    if not len(grades_B):
        raise UserError("reward model: there is no graded completion to learn from")
    error = ((scores_B - grades_B) ** 2).mean()
    if not torch.isfinite(error):
        raise UserError(
            f"reward model: the squared error is {error.item()}: lower train.learning_rate, and "
            "look at the grades"
        )
    return error


class RewardModelLearner:
    """AdamW on all weights of ``model``; ``done`` counts the updates."""

    def __init__(self, model: RewardModel, config: RunConfig, seed: int) -> None:
        self.reward_model = model
        self.done = 0
        self._train, self._clip, self._seed = config.train, config.reward_model.clip, seed
        self._weights = list(model.model.parameters())
        self._optimizer = torch.optim.AdamW(
            self._weights,
            lr=config.train.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=config.reward_model.weight_decay,
        )

    def step(self, graded: Sequence[Graded]) -> dict[str, float]:
        """One update on all of these; its metrics. Raises UserError as ``squared_error`` does, and
        the weights are then as before."""
        model = self.reward_model.model
        model.train()
        torch.manual_seed(self._seed * 1_000_003 + self.done)  # dropout, also after a resume
        self._optimizer.zero_grad()
        total = 0.0
        micro = self._train.micro_batch or len(graded)
        for start in range(0, len(graded), max(1, micro)):
            part = graded[start : start + micro]
            grades_B = torch.tensor([one.grade for one in part], device=model.device)
            scores_B = self.reward_model.forward([one.answered for one in part])
            error = squared_error(scores_B, grades_B) * (len(part) / len(graded))
            error.backward()
            total += error.item()
        if not graded:
            squared_error(torch.zeros(0), torch.zeros(0))
        norm = torch.nn.utils.clip_grad_norm_(self._weights, self._clip or math.inf).item()
        if not math.isfinite(norm):
            raise UserError(f"reward model: the gradient is {norm}: lower train.learning_rate")
        rate = min(1.0, (self.done + 1) / max(1, self._train.warmup_updates))
        for group in self._optimizer.param_groups:
            group["lr"] = self._train.learning_rate * rate
        self._optimizer.step()
        model.eval()
        self.done += 1
        return {"train/loss": total, "train/grad_norm": norm}

    def save(self, folder: Path) -> None:
        """Write everything to go on. Data and sampling follow from the number of updates done."""
        self.reward_model.save(folder)
        save_state(folder / _STATE, {"optimizer": self._optimizer.state_dict()}, self.done)

    def load(self, folder: Path) -> None:
        """Go on from what ``save`` wrote."""
        saved = RewardModel.load(folder)
        self.reward_model.model.load_state_dict(saved.model.state_dict())
        state = torch.load(folder / _STATE, weights_only=True)
        self._optimizer.load_state_dict(state["optimizer"])
        self.done = state["done"]


def measure(model: RewardModel, graded: Sequence[Graded], *, seed: int = 0) -> dict[str, Estimate]:
    """``reward_model/...`` of docs/metrics.md on graded completions, each with n and a 95 %
    interval; the AUC is missing where all grades are on one side of a half.

    Raises UserError for no completions.
    """
    if not graded:
        raise UserError(
            "reward model: no held-out completion could be graded: the task has no grader"
        )
    grades = np.array([one.grade for one in graded])
    scores = np.array(model.score([one.answered for one in graded]))
    right = grades > 0.5
    agree = int(((scores > 0.5) == right).sum())
    rows = [
        (one.answered.problem.id, float(s), bool(r))
        for one, s, r in zip(graded, scores, right, strict=True)
    ]
    found = {
        "reward_model/mse": stratified_bootstrap(list((scores - grades) ** 2), mean),
        "reward_model/constant_mse": stratified_bootstrap(
            list((grades - grades.mean()) ** 2), mean
        ),
        "reward_model/accuracy": share(agree, len(graded)),
        "reward_model/auc": separation(rows, 0.05, seed=seed).get("auc"),
        "reward_model/grade": stratified_bootstrap(list(grades), mean),
        "reward_model/score": stratified_bootstrap(list(scores), mean),
    }
    return {name: estimate for name, estimate in found.items() if estimate is not None}
