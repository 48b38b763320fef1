"""Answers after fewer steps than were taken.

A step never looks at a later one, so a thought of K steps holds those of 1 to K - 1 steps.

_B rows   _K latent steps   _A answer positions   _V vocabulary   _N numbers of steps
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

from apportion.policies.latent.batch import IGNORED, LatentBatch, Questions
from apportion.policies.latent.model import LatentModel, Thought, visible_to_answer


def stopped(model: LatentModel, questions: Questions, thought: Thought, steps_B: Tensor) -> Thought:
    """``thought`` as it was after ``steps_B`` steps, which are at most those that were taken."""
    sooner = replace(questions, steps_B=steps_B)
    row_B = torch.arange(len(steps_B), device=steps_B.device)
    states = torch.cat([thought.question_BD[:, None], thought.states_BKD], dim=1)
    visible_BL = visible_to_answer(model, sooner)
    later = thought.visible_BL.shape[1] - visible_BL.shape[1]
    return replace(
        thought,
        hidden_BD=states[row_B, steps_B],
        visible_BL=pad(visible_BL, (0, later)),
        position_B=questions.mask_BQ.sum(1) + steps_B,
    )


def row_losses(logits_BAV: Tensor, labels_BA: Tensor) -> Tensor:
    """(B,): minus the log-probability of each row's answer."""
    flat = logits_BAV.flatten(0, 1)
    losses = cross_entropy(flat, labels_BA.flatten(), ignore_index=IGNORED, reduction="none")
    return losses.view_as(labels_BA).sum(1)


def logits_after(
    model: LatentModel, batch: LatentBatch, thought: Thought, steps: Sequence[int]
) -> list[Tensor]:
    """Logits (B, A, V) of the answer given after each of these numbers of steps (0: none).

    A row that took fewer steps than a number is taken after its last.
    """
    found = []
    for count in steps:
        steps_B = batch.questions.steps_B.clamp_max(count)
        sooner = stopped(model, batch.questions, thought, steps_B)
        found.append(model.decoder.logits(model.answer_states(sooner, batch)))
    return found


def losses_after(
    model: LatentModel, batch: LatentBatch, thought: Thought, steps: Sequence[int]
) -> Tensor:
    """(B, N): ``row_losses`` of ``logits_after``."""
    logits = logits_after(model, batch, thought, steps)
    return torch.stack([row_losses(one, batch.labels_BA) for one in logits], dim=1)
