"""The expected loss over when to stop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from apportion.config.latent_methods import HaltingMethod
from apportion.errors import UserError
from apportion.policies.latent.batch import LatentBatch
from apportion.policies.latent.gradient import Bptt, StepGradients
from apportion.policies.latent.halting import HaltingHead, choose_steps, log_geometric
from apportion.policies.latent.model import LatentOutput, Thought, output_of
from apportion.policies.latent.policy import LatentPolicy
from apportion.policies.latent.stopping import logits_after, row_losses
from apportion.train.latent.methods.base import LatentMethod
from apportion.train.latent.methods.example import Target


def head_of(policy: LatentPolicy, kind: str) -> HaltingHead:
    """Raises UserError where there is nothing to decide, or nothing that decides."""
    head = policy.model.halting
    if not policy.model.steps:
        raise UserError(f"latent.steps: {kind} chooses between 1 and so many steps: use 1 or more")
    if head is None:
        raise UserError(f"latent.learning {kind}: the policy was made without a head that halts")
    return head


def stopping(head: HaltingHead, states_BKD: Tensor, *, held: bool) -> Tensor:
    """log p_n, (B, K), of the head, or where it is ``held`` the same for every n."""
    if not held:
        return head(states_BKD)
    shape = states_BKD.shape[:2]
    return states_BKD.new_full(shape, -math.log(shape[1]))


class Decision(NamedTuple):
    """Thoughts of a batch with log p_n (B, K), that the row stops after step n."""

    batch: LatentBatch
    gradients: StepGradients
    thought: Thought
    log_p_BK: Tensor


class Deciding(LatentMethod):
    """What the methods share that learn when to stop."""

    def __init__(self, policy: LatentPolicy, kind: str, hold: int) -> None:
        super().__init__(policy)
        self._head = head_of(policy, kind)
        self._hold, self._held = hold, False

    def begin(self, done: int) -> bool:
        self._held = done < self._hold
        return False

    def decide(self, targets: Sequence[Target], bptt: Bptt) -> Decision:
        batch = self.batch(targets)
        gradients = StepGradients(batch.questions.steps_B, bptt.cure)
        thought = self.model.think(batch.questions, bptt, gradients)
        log_p_BK = stopping(self._head, thought.states_BKD, held=self._held)
        return Decision(batch, gradients, thought, log_p_BK)


class Halting(Deciding):
    """See ``config.latent_methods.HaltingMethod``.

    sum_n p_n L_n is the recursion E_n = lambda_n L_n + (1 - lambda_n) E_{n+1}, E_K = L_K, written
    out. L_n is minus the log-probability of the answer given after n steps; the mean is over
    answer tokens, as without halting, that of cost and divergence over problems.
    """

    def __init__(self, policy: LatentPolicy, options: HaltingMethod) -> None:
        super().__init__(policy, "halting", options.hold)
        self._options = options

    def learn(self, targets: Sequence[Target], bptt: Bptt) -> LatentOutput:
        batch, gradients, thought, log_p_BK = self.decide(targets, bptt)
        steps = range(1, self.model.steps + 1)
        logits = logits_after(self.model, batch, thought, steps)
        losses_BK = torch.stack([row_losses(one, batch.labels_BA) for one in logits], dim=1)
        loss, mean_steps, divergence = expected_loss(
            losses_BK, log_p_BK, self.weight(targets), self._options
        )
        chosen_B = choose_steps(log_p_BK.detach(), sample=False)
        row_B = torch.arange(len(chosen_B), device=chosen_B.device)
        answered = torch.stack(logits, 1)[row_B, chosen_B - 1]
        output = output_of(loss, answered, batch.labels_BA, thought.states_BKD, gradients)
        output.figures = {
            "latent/steps": mean_steps.item(),
            "latent/prior_divergence": divergence.item(),
        }
        return output


def expected_loss(
    losses_BK: Tensor, log_p_BK: Tensor, tokens: int, options: HaltingMethod
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss, mean number of steps, KL(p, prior)) of answers' losses and log p after each step."""
    p_BK = log_p_BK.exp()
    prior_K = log_geometric(options.prior, p_BK.shape[1]).to(log_p_BK)
    counted_K = torch.arange(1, p_BK.shape[1] + 1).to(log_p_BK)
    steps = (p_BK * counted_K).sum(1).mean()
    divergence = (p_BK * (log_p_BK - prior_K)).sum(1).mean()
    expected = (p_BK * losses_BK).sum() / tokens
    return expected + options.cost * steps + options.beta * divergence, steps, divergence
