"""The stop by policy gradient, everything else by backpropagation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from apportion.config.latent_methods import StopBitMethod
from apportion.policies.latent.gradient import Bptt
from apportion.policies.latent.model import LatentOutput, output_of
from apportion.policies.latent.policy import LatentPolicy
from apportion.policies.latent.stopping import row_losses, stopped
from apportion.train.latent.methods.example import Target
from apportion.train.latent.methods.halting import Deciding


class StopBit(Deciding):
    """See ``config.latent_methods.StopBitMethod``.

    The gradient is an unbiased estimate of that of sum_n p_n (L_n + cost n), which ``Halting``
    computes: no more answers are read than were drawn, at the price of variance.
    """

    def __init__(self, policy: LatentPolicy, options: StopBitMethod) -> None:
        super().__init__(policy, "stop_bit", options.hold)
        self._options = options

    def learn(self, targets: Sequence[Target], bptt: Bptt) -> LatentOutput:
        batch, gradients, thought, log_p_BK = self.decide(targets, bptt)
        drawn_BM = torch.multinomial(
            log_p_BK.detach().float().exp(), self._options.samples, replacement=True
        )
        logits = []
        for steps_B in (drawn_BM + 1).unbind(1):
            sooner = stopped(self.model, batch.questions, thought, steps_B)
            logits.append(self.model.decoder.logits(self.model.answer_states(sooner, batch)))
        losses_BM = torch.stack([row_losses(one, batch.labels_BA) for one in logits], dim=1)
        tokens = self.weight(targets)
        cost_BM = self._options.cost / len(targets) * (drawn_BM + 1)
        loss = surrogate(losses_BM / tokens + cost_BM, log_p_BK.gather(1, drawn_BM))
        output = output_of(loss, logits[0], batch.labels_BA, thought.states_BKD, gradients)
        output.figures = {"latent/steps": (drawn_BM + 1).float().mean().item()}
        return output


def surrogate(losses_BM: Tensor, log_p_BM: Tensor) -> Tensor:
    """The mean over M draws of the losses, summed over rows: its gradient is that of the losses
    plus that of log p times what each draw lost beyond the mean of the others."""
    draws = losses_BM.shape[1]
    given_BM = losses_BM.detach()
    others_BM = (given_BM.sum(1, keepdim=True) - given_BM) / (draws - 1)
    score_BM = (given_BM - others_BM) * log_p_BM
    # In value it is the loss alone: the score counts for the gradient only.
    return ((losses_BM + score_BM - score_BM.detach()).sum(0)).mean()
