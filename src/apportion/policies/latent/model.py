"""A language model that thinks in vectors: question, k latent steps, answer.

    _B  rows        _Q  question positions      _K  latent steps, as many as the longest row has
    _A  answer positions                        _L  all positions: Q + K + A
    _E  size of an embedding                    _D  size of a hidden state
    _V  vocabulary

The question is one forward pass, each latent step one of a single position, the answer one; they
share a key-value cache, so nothing is computed twice. The first answer token is read out of the
hidden state of the last latent step, or of the question's last token where k = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from apportion.errors import UserError
from apportion.policies.latent.batch import IGNORED, LatentBatch, Questions
from apportion.policies.latent.cache import Part, cache_of, part_of
from apportion.policies.latent.cells import build_cell
from apportion.policies.latent.decoder import Decoded, Decoder
from apportion.policies.latent.deferred import deferred_weights
from apportion.policies.latent.gradient import Bptt, StepGradients
from apportion.policies.latent.halting import HaltingHead
from apportion.policies.latent.options import CellOptions, HrpoOptions, Norm
from apportion.policies.latent.recompute import Run, Stretch, recomputed
from apportion.policies.latent.sampled import TokenSampler

# (the step's input (B, E), the hidden state it was made of (B, D), step from 0) -> another input.
Disturb = Callable[[Tensor, Tensor, int], Tensor]


@dataclass
class Thought:
    """Where a row stands after its latent steps.

    ``hidden_BD`` is what the first answer token is read from; ``states_BKD`` the hidden state after
    each step (a row that has stopped keeps its last) and ``question_BD`` that before the first.
    ``visible_BL`` masks what the answer may look at among the positions in ``past``, and
    ``position_B`` is the answer's first.
    """

    hidden_BD: Tensor
    states_BKD: Tensor
    past: list[Part]
    visible_BL: Tensor
    position_B: Tensor
    question_BD: Tensor


@dataclass
class LatentOutput:
    """``loss`` is the mean cross-entropy over the ``tokens`` answer tokens; ``logits_BAV[:, i]``
    predicts answer token i, and ``token_accuracy`` is the share that it puts first. ``gradients``
    can be asked after the backward pass; ``figures`` are further metrics."""

    loss: Tensor
    tokens: int
    logits_BAV: Tensor
    states_BKD: Tensor
    gradients: StepGradients
    token_accuracy: float
    figures: dict[str, float] = field(default_factory=dict)


class LatentModel(Decoded):
    """``network`` (a transformers ``...ForCausalLM``) with a cell.

    ``steps`` is how many latent steps a question gets unless told otherwise. With ``window`` w > 0
    a latent step sees itself and the w - 1 positions before it, and the answer sees itself and
    the last w before it: what those do not carry is forgotten. ``norm`` "embedding" scales each
    latent to the mean norm that the token embeddings had when the cell was made. With ``halting``
    ``steps`` is a limit, and a head decides how many are taken. ``disturb`` (settable) changes the
    input of each step. Raises UserError as Decoder and build_cell do.
    """

    def __init__(
        self,
        network: Any,
        cell: CellOptions,
        *,
        steps: int,
        window: int = 0,
        norm: Norm = "off",
        halting: bool = False,
    ) -> None:
        super().__init__(Decoder(network))
        self.options = cell
        self.cell = build_cell(cell, self.decoder)
        self.steps = steps
        self.window = window
        self.norm = norm
        self.disturb: Disturb | None = None
        sampled = isinstance(cell, HrpoOptions) and cell.sampled
        self.sampler = TokenSampler(self.decoder) if sampled else None
        self.halting: HaltingHead | None = None
        if halting:
            self.add_halting()
        self.norm_target: Tensor
        mean_norm = self.decoder.embeddings().detach().norm(dim=-1).mean()
        self.register_buffer("norm_target", mean_norm)

    def add_halting(self) -> None:
        """A fresh head, which makes ``steps`` a limit."""
        head = HaltingHead(self.decoder.hidden_size)
        self.halting = head.to(device=self.decoder.device, dtype=self.decoder.dtype)

    def save_pretrained(self, folder: Path | str) -> None:
        """See ``folder.save_latent``."""
        from apportion.policies.latent.folder import save_latent

        save_latent(self, folder)

    # -- training --------------------------------------------------------------------------------

    def forward(self, batch: LatentBatch, bptt: Bptt | None = None) -> LatentOutput:
        """Cross-entropy of the answers, with every latent step on the graph unless truncated.

        Without latent steps it is plain supervised training: one pass of the network.
        """
        bptt = bptt or Bptt()
        gradients = StepGradients(batch.questions.steps_B, bptt.cure)
        if batch.questions.longest == 0:
            return self._plain(batch, gradients)
        with deferred_weights(self.network):
            thought = self.think(batch.questions, bptt, gradients)
            logits_BAV = self.decoder.logits(self.answer_states(thought, batch))
        loss = _mean_loss(logits_BAV, batch.labels_BA)
        return output_of(loss, logits_BAV, batch.labels_BA, thought.states_BKD, gradients)

    def think(
        self,
        questions: Questions,
        bptt: Bptt | None = None,
        gradients: StepGradients | None = None,
        enough: Callable[[Tensor], bool] | None = None,
    ) -> Thought:
        """Read the questions and take their latent steps, or fewer: with ``enough`` none is taken
        after a stretch of them whose states (B, steps so far, D) are enough.

        Raises UserError where a question and its steps do not fit into the context.
        """
        bptt = bptt or Bptt()
        self._check_room(questions)
        embeds_BQE = self.decoder.embed(questions.ids_BQ)
        positions_BQ = (questions.mask_BQ.cumsum(1) - 1).clamp_min(0)
        cache = cache_of([])
        hidden_BQD = self.decoder.run(
            embeds_BQE, questions.mask_BQ, positions_BQ, cache, last_only=True
        )
        hidden_BD = hidden_BQD[:, -1]
        question_BD = hidden_BD
        steps = _Steps(self, questions, gradients or StepGradients(questions.steps_B))
        past = [part_of(cache)]
        carried_BE = self.cell.start(embeds_BQE[:, -1])
        states: list[Tensor] = []
        for first, stop, tracked in bptt.stretches(questions.longest):
            run: Run = steps.run
            if not tracked:
                run = torch.no_grad()(run)
            elif bptt.recompute and torch.is_grad_enabled():
                run = recomputed(run)
            hidden_BD, carried_BE, part, new = run(first, stop, hidden_BD, carried_BE, past)
            past = [*past, part]
            states += new
            if enough is not None and enough(torch.stack(states, 1)):
                taken_B = questions.steps_B.clamp_max(len(states))
                questions = replace(questions, steps_B=taken_B)
                break
        states_BKD = torch.stack(states, 1) if states else hidden_BD[:, None][:, :0]
        position_B = questions.mask_BQ.sum(1) + questions.steps_B
        visible_BL = visible_to_answer(self, questions)
        return Thought(hidden_BD, states_BKD, past, visible_BL, position_B, question_BD)

    def next_input(self, hidden_BD: Tensor, carried_BE: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """The input (B, E) of latent step ``step`` (from 0), and what the cell carries on."""
        mixed_BD = hidden_BD
        if self.sampler is not None:
            mixed_BD, carried_BE = self.sampler(hidden_BD, step)
        latent_BE, carried_BE = self.cell(mixed_BD, carried_BE)
        if self.norm == "embedding":
            norm_B1 = latent_BE.norm(dim=-1, keepdim=True)
            latent_BE = latent_BE * (self.norm_target / norm_B1)
        if self.disturb is not None:
            latent_BE = self.disturb(latent_BE, hidden_BD, step)
        return latent_BE, carried_BE

    def answer_states(
        self, thought: Thought, batch: LatentBatch, layers: list[Tensor] | None = None
    ) -> Tensor:
        """Hidden states (B, A, D) that predict each answer token, given those before it.

        To ``layers`` the states of every layer at the answer's tokens but the last are appended,
        (B, A - 1, D) each.
        """
        first_B1D = thought.hidden_BD[:, None]
        if batch.ids_BA.shape[1] == 1:
            return first_B1D
        given_BA, mask_BA = batch.ids_BA[:, :-1], batch.mask_BA[:, :-1]
        positions_BA = thought.position_B[:, None] + mask_BA.cumsum(1) - 1
        mask_BL = torch.cat([thought.visible_BL, mask_BA], dim=1)
        embeds_BAE = self.decoder.embed(given_BA)
        cache = cache_of(thought.past)
        rest = self.decoder.run(embeds_BAE, mask_BL, positions_BA, cache, layers)
        return torch.cat([first_B1D, rest], dim=1)

    def _plain(self, batch: LatentBatch, gradients: StepGradients) -> LatentOutput:
        questions = batch.questions
        mask_BL = torch.cat([questions.mask_BQ, batch.mask_BA], 1)
        given = {"input_ids": torch.cat([questions.ids_BQ, batch.ids_BA], 1)}
        if not mask_BL.all():
            # Only where it says something: a device may have another, faster way without a mask.
            given["attention_mask"] = mask_BL
            given["position_ids"] = (mask_BL.cumsum(1) - 1).clamp_min(0)
        logits_BLV = self.network(**given, use_cache=False).logits
        # The loss runs over all positions, ignored or not: summing fewer would round differently
        # from transformers' own loss.
        labels_BL = torch.full_like(mask_BL, IGNORED)
        labels_BL[:, questions.ids_BQ.shape[1] - 1 : -1] = batch.labels_BA
        loss = _mean_loss(logits_BLV, labels_BL)
        logits_BAV = logits_BLV[:, questions.ids_BQ.shape[1] - 1 : -1]
        states_BKD = logits_BLV.new_zeros(len(logits_BLV), 0, self.decoder.hidden_size)
        return output_of(loss, logits_BAV, batch.labels_BA, states_BKD, gradients)

    def _check_room(self, questions: Questions) -> None:
        context = getattr(self.config, "max_position_embeddings", None)
        longest = int((questions.mask_BQ.sum(1) + questions.steps_B).max())
        if context and longest > context:
            raise UserError(
                f"a question and its latent steps take {longest} positions, the model has "
                f"{context}: use fewer latent steps or shorter questions"
            )


def visible_to_answer(model: LatentModel, questions: Questions) -> Tensor:
    """(B, Q + K) mask of what the answer may look at after the questions' steps."""
    return _Steps(model, questions, StepGradients(questions.steps_B)).visible_to_answer()


class _Steps:
    """The latent steps of one batch."""

    def __init__(self, model: LatentModel, questions: Questions, gradients: StepGradients) -> None:
        self.model = model
        self.steps_B = questions.steps_B
        self.start_B = questions.mask_BQ.sum(1)
        self.width = questions.ids_BQ.shape[1]
        self.gradients = gradients
        # A row that has stopped goes through the motions, but nothing may look at what it does.
        counted_K = torch.arange(questions.longest, device=self.steps_B.device)
        self.mask_BL = torch.cat([questions.mask_BQ, self.steps_B[:, None] > counted_K], dim=1)

    def run(
        self, first: int, stop: int, hidden_BD: Tensor, carried_BE: Tensor, past: list[Part]
    ) -> Stretch:
        """Steps ``first`` to ``stop`` - 1."""
        with deferred_weights(self.model.network):
            return self._run(first, stop, hidden_BD, carried_BE, past)

    def _run(
        self, first: int, stop: int, hidden_BD: Tensor, carried_BE: Tensor, past: list[Part]
    ) -> Stretch:
        model, cache, states = self.model, cache_of(past), []
        for step in range(first, stop):
            latent_BE, carried_BE = model.next_input(hidden_BD, carried_BE, step)
            # A view is a node of its own: its gradient is that of the step's input alone.
            latent_BE = latent_BE.view_as(latent_BE)
            self.gradients.watch(latent_BE, step)
            position_B = self.start_B + self.steps_B.clamp_max(step)
            visible_BL = self._visible(self.width + step + 1, self.width + step + 1)
            new_BTD = model.decoder.run(latent_BE[:, None], visible_BL, position_B[:, None], cache)
            hidden_BD = torch.where((self.steps_B > step)[:, None], new_BTD[:, 0], hidden_BD)
            states.append(hidden_BD)
        return hidden_BD, carried_BE, part_of(cache, self.width + first), states

    def visible_to_answer(self) -> Tensor:
        return self._visible(self.mask_BL.shape[1], self.width + self.steps_B)

    def _visible(self, length: int, end: int | Tensor) -> Tensor:
        """The mask of the first ``length`` positions, less those before the window that closes at
        ``end``; a row without latent steps sees its question."""
        mask_BL = self.mask_BL[:, :length]
        if not self.model.window:
            return mask_BL
        column_L = torch.arange(length, device=mask_BL.device)
        opens_B = torch.where(self.steps_B > 0, end - self.model.window, 0)
        return mask_BL * (column_L >= opens_B[:, None])


def _mean_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the labels that count."""
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    return cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)


def output_of(
    loss: Tensor,
    logits_BAV: Tensor,
    labels_BA: Tensor,
    states_BKD: Tensor,
    gradients: StepGradients,
) -> LatentOutput:
    """The output, with what can be counted of the logits."""
    counted_BA = labels_BA != IGNORED
    right_BA = (logits_BAV.detach().argmax(-1) == labels_BA) & counted_BA
    tokens = int(counted_BA.sum())
    accuracy = int(right_BA.sum()) / max(1, tokens)
    return LatentOutput(loss, tokens, logits_BAV, states_BKD, gradients, accuracy)
