"""Latent chains with other inputs, or fewer steps: what is answered then.

_B rows   _K latent steps   _E size of an embedding   _A answer positions
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from apportion.errors import UserError
from apportion.policies.latent.batch import LatentBatch, Questions
from apportion.policies.latent.generate import answer_tokens
from apportion.policies.latent.model import Disturb, LatentModel, Thought
from apportion.policies.latent.stopping import row_losses, stopped
from apportion.policies.modes import eval_mode


class Taken(NamedTuple):
    """A thought, and the input ``inputs_BKE`` of each of its steps."""

    thought: Thought
    inputs_BKE: Tensor


@torch.no_grad()
def taken(model: LatentModel, questions: Questions, inputs_BKE: Tensor | None = None) -> Taken:
    """Take the latent steps of the questions, with these inputs in place of the cell's if given.

    An input is what the cell hands to the next step, so keys and values at a replaced step are
    still computed from the question: what is replaced is all that a step says to the next. A row
    that has stopped goes through the motions, as in training. Raises UserError where the inputs
    are fewer than the steps.
    """
    longest = questions.longest
    if inputs_BKE is not None and inputs_BKE.shape[1] < longest:
        raise UserError(f"{inputs_BKE.shape[1]} inputs for {longest} latent steps: give one each")
    seen: list[Tensor] = []

    def disturbed(latent_BE: Tensor, _hidden_BD: Tensor, step: int) -> Tensor:
        chosen_BE = latent_BE if inputs_BKE is None else inputs_BKE[:, step].to(latent_BE)
        seen.append(chosen_BE)
        return chosen_BE

    with _disturbing(model, disturbed):
        thought = model.think(questions)
    size = model.decoder.embedding_size
    none_B0E = thought.hidden_BD.new_zeros(len(questions.ids_BQ), 0, size)
    return Taken(thought, torch.stack(seen, 1) if seen else none_B0E)


@torch.no_grad()
def answers_of(
    model: LatentModel,
    questions: Questions,
    thought: Thought,
    *,
    max_tokens: int,
    stop_ids: Collection[int],
) -> list[list[int]]:
    """The greedy answer of each row, up to and with its end."""
    drawn = answer_tokens(
        model, questions, max_tokens=max_tokens, stop_ids=stop_ids, thought=thought
    )
    rows = torch.stack([token_B for token_B, _ in drawn], 1).tolist()
    ends = [next((i + 1 for i, t in enumerate(row) if t in stop_ids), len(row)) for row in rows]
    return [row[:end] for row, end in zip(rows, ends, strict=True)]


@torch.no_grad()
def answer_logprobs(model: LatentModel, batch: LatentBatch, thought: Thought) -> Tensor:
    """(B,): natural log-probability of each row's given answer after the thought."""
    logits_BAV = model.decoder.logits(model.answer_states(thought, batch))
    return -row_losses(logits_BAV.float(), batch.labels_BA)


def after(model: LatentModel, questions: Questions, thought: Thought, steps: int) -> Thought:
    """The thought after so many of its steps, or all where a row took fewer."""
    return stopped(model, questions, thought, questions.steps_B.clamp_max(steps))


def matched_noise(inputs_BKE: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Normal noise in which every input has the norm of the one that it stands for; one generator
    for each row, so that a row's noise does not depend on its batch."""
    shape = inputs_BKE.shape[1:]
    noise = torch.stack([torch.randn(shape, generator=g) for g in generators]).to(inputs_BKE)
    scale = inputs_BKE.norm(dim=-1, keepdim=True) / noise.norm(dim=-1, keepdim=True)
    return noise * scale


@contextmanager
def _disturbing(model: LatentModel, disturb: Disturb) -> Iterator[None]:
    before, model.disturb = model.disturb, disturb
    try:
        with eval_mode(model):
            yield
    finally:
        model.disturb = before
