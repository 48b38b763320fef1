"""When to stop thinking: a head, the distribution of the stopping step, and the choice of one.

_B  rows    _K  latent steps, the limit    _D  size of a hidden state

lambda_n is the chance to stop after step n once it is reached, and after step K it is 1:
p_n = lambda_n prod_{i<n} (1 - lambda_i) (PonderNet, arXiv 2107.05407).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

# A fresh head stops with this chance at every step.
_START = 0.2
# Rounding may leave the whole sum just below one half.
_HALF = 0.5 - 1e-6


class HaltingHead(nn.Module):
    """lambda_n = sigmoid(w h_n + b) of the hidden state h_n after step n."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.read = nn.Linear(hidden_size, 1)
        nn.init.zeros_(self.read.weight)
        nn.init.constant_(self.read.bias, math.log(_START / (1 - _START)))

    def forward(self, states_BKD: Tensor) -> Tensor:
        """log p_n, (B, K): of stopping after each step."""
        return log_stopping(self.read(states_BKD)[..., 0])


def log_stopping(scores_BK: Tensor) -> Tensor:
    """log p_n of lambda_n = sigmoid(score_n); the last score does not count."""
    go_on_BK = logsigmoid(-scores_BK).cumsum(-1)
    before_BK = torch.cat([torch.zeros_like(go_on_BK[:, :1]), go_on_BK[:, :-1]], dim=-1)
    last_B1 = torch.zeros_like(scores_BK[:, :1])
    return before_BK + torch.cat([logsigmoid(scores_BK[:, :-1]), last_B1], dim=-1)


def log_geometric(prior: float, steps: int) -> Tensor:
    """log of PonderNet's prior over 1 to ``steps``: prior (1 - prior)^(n - 1), rescaled to one."""
    weights_K = prior * (1 - prior) ** torch.arange(steps, dtype=torch.float64)
    return (weights_K / weights_K.sum()).log()


def choose_steps(log_p_BK: Tensor, *, sample: bool) -> Tensor:
    """Steps to take, (B,), from 1: drawn, or else the first at which it is as likely as not to
    have stopped."""
    p_BK = log_p_BK.float().exp()
    if sample:
        return torch.multinomial(p_BK, 1)[:, 0] + 1
    return ((p_BK.cumsum(-1) < _HALF).sum(-1) + 1).clamp_max(p_BK.shape[-1])


def likely_stopped(scores_BK: Tensor) -> Tensor:
    """(B,): whether a row is as likely as not to have stopped by the last of these steps, which
    need not be the limit."""
    return 1 - logsigmoid(-scores_BK.float()).sum(-1).exp() >= _HALF
