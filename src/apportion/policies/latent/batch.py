"""Questions and answers of a batch as tensors.

_B  rows        _Q  question positions, padded on the left
_A  answer positions, padded on the right
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from apportion.errors import UserError

IGNORED = -100


@dataclass(frozen=True)
class Questions:
    """Token ids of questions, 1 in the mask where there is a token, and latent steps of each."""

    ids_BQ: Tensor
    mask_BQ: Tensor
    steps_B: Tensor

    @property
    def longest(self) -> int:
        """The largest number of latent steps in the batch."""
        return int(self.steps_B.max())

    def to(self, device: torch.device) -> Questions:
        return Questions(*(t.to(device) for t in (self.ids_BQ, self.mask_BQ, self.steps_B)))


@dataclass(frozen=True)
class LatentBatch:
    """Questions with the answers to learn. ``labels_BA`` is IGNORED where nothing is learned."""

    questions: Questions
    ids_BA: Tensor
    mask_BA: Tensor
    labels_BA: Tensor

    def to(self, device: torch.device) -> LatentBatch:
        answer = (t.to(device) for t in (self.ids_BA, self.mask_BA, self.labels_BA))
        return LatentBatch(self.questions.to(device), *answer)


def pad_questions(
    questions: Sequence[Sequence[int]], steps: int | Sequence[int], pad_id: int
) -> Questions:
    """Pad token ids on the left; ``steps`` is one number, or one for each question.

    Raises UserError for an empty question, or steps that are negative or of another count.
    """
    counts = [steps] * len(questions) if isinstance(steps, int) else list(steps)
    if len(counts) != len(questions):
        raise UserError(f"{len(counts)} numbers of latent steps for {len(questions)} questions")
    if min(counts, default=0) < 0:
        raise UserError(f"latent steps must be 0 or more, not {min(counts)}")
    if not all(questions):
        raise UserError("a question without a token has no hidden state to think from")
    width = max(map(len, questions))
    ids = [[pad_id] * (width - len(q)) + list(q) for q in questions]
    mask = [[0] * (width - len(q)) + [1] * len(q) for q in questions]
    return Questions(torch.tensor(ids), torch.tensor(mask), torch.tensor(counts))


def pad_batch(
    questions: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    steps: int | Sequence[int],
    pad_id: int,
) -> LatentBatch:
    """Pad questions left and answers right; every answer token is learned.

    Raises UserError as ``pad_questions`` does, and for an empty answer.
    """
    if not all(answers):
        raise UserError("an answer without a token leaves nothing to learn")
    width = max(map(len, answers))
    ids_BA = torch.tensor([[*a, *[pad_id] * (width - len(a))] for a in answers])
    mask_BA = torch.tensor([[1] * len(a) + [0] * (width - len(a)) for a in answers])
    labels_BA = ids_BA.masked_fill(mask_BA == 0, IGNORED)
    return LatentBatch(pad_questions(questions, steps, pad_id), ids_BA, mask_BA, labels_BA)
