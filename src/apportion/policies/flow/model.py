"""Reasoning as a flow: a vector moved by a velocity field, and a decoder that answers from it.

    z_0 = A h(x) + b        z_{i+1} = z_i + v(z_i, i/k, x) / k        p(a | z_k)

h(x) is the network's hidden state after the question, A and b are learned, v is the field, and the
decoder is the same network: it reads the thought as ``width`` soft tokens and never the question,
so that the answer knows only what the thought carries.

Source: the post on neuralese, which reads arXiv 2601.09260 so; the paper itself is about text.

_B  rows        _Q  question positions      _A  answer positions
_M  vectors of a thought                    _D  size of each        _V  vocabulary
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from apportion.errors import UserError
from apportion.policies.flow.field import VelocityField
from apportion.policies.latent.batch import IGNORED, LatentBatch, Questions
from apportion.policies.latent.cache import cache_of, part_of
from apportion.policies.latent.decoder import Decoded, Decoder
from apportion.policies.latent.model import Thought


class Trajectory(NamedTuple):
    """Where thoughts went: ``z`` holds k + 1 points (B, M, D), ``v`` the k velocities between."""

    z: list[Tensor]
    v: list[Tensor]
    x_BQD: Tensor


class FlowModel(Decoded):
    """``network`` (a transformers ``...ForCausalLM``) with a field and ``steps`` Euler steps.

    Raises UserError as Decoder does, and where ``heads`` does not divide the embedding size.
    """

    # What else the generator of latent answers asks of a model: all steps are taken, and none of
    # them is written.
    halting = None
    sampler = None

    def __init__(
        self, network: Any, *, steps: int, width: int = 1, heads: int = 4, hidden: int = 256
    ) -> None:
        super().__init__(Decoder(network))
        size = self.decoder.embedding_size
        if size % heads:
            raise UserError(
                f"flow.heads {heads} does not divide the embedding size {size} of the policy"
            )
        self.steps, self.width = steps, width
        self.settings = {"width": width, "heads": heads, "hidden": hidden}
        self.start = nn.Linear(self.decoder.hidden_size, size)
        self.slots_MD = nn.Parameter(0.02 * torch.randn(width, size))
        self.field = VelocityField(size, heads, hidden)
        nn.init.eye_(self.start.weight)
        nn.init.zeros_(self.start.bias)
        self.to(device=self.decoder.device, dtype=self.decoder.dtype)

    def flow(self, questions: Questions, *, detach: bool = False) -> Trajectory:
        """Move the thoughts of the questions. With ``detach`` no gradient passes a velocity: what
        is learned from the end reaches the start, the network, and not the field."""
        x_BQD = self._read(questions)
        z_BMD = self.start(x_BQD[:, -1])[:, None] + self.slots_MD
        points, moves = [z_BMD], []
        for i in range(self.steps):
            given = (z_BMD.detach(), x_BQD.detach()) if detach else (z_BMD, x_BQD)
            v_BMD = self.field(given[0], i / self.steps, given[1], questions.mask_BQ)
            z_BMD = z_BMD + (v_BMD.detach() if detach else v_BMD) / self.steps
            points.append(z_BMD)
            moves.append(v_BMD)
        return Trajectory(points, moves, x_BQD)

    def answer_logits(self, z_BMD: Tensor, batch: LatentBatch) -> Tensor:
        """(B, A, V): what may stand in place of each answer token after a thought."""
        given_BA = batch.ids_BA[:, :-1]
        embeds_BLD = torch.cat([z_BMD, self.decoder.embed(given_BA)], 1)
        mask_BL = torch.cat([self._seen(z_BMD), batch.mask_BA[:, :-1]], 1)
        positions_BL = (mask_BL.cumsum(1) - 1).clamp_min(0)
        hidden_BLD = self.decoder.run(embeds_BLD, mask_BL, positions_BL, cache_of([]))
        return self.decoder.logits(hidden_BLD[:, self.width - 1 :])

    def answer_logps(self, z_BMD: Tensor, batch: LatentBatch) -> Tensor:
        """log p(answer | thought) in nats, (B,), end of text included where the answer has it."""
        logits_BAV = self.answer_logits(z_BMD, batch)
        logits_BAV = logits_BAV.float() if logits_BAV.dtype == torch.bfloat16 else logits_BAV
        counted_BA = batch.labels_BA != IGNORED
        chosen_BA1 = batch.labels_BA.clamp_min(0)[..., None]
        logps_BA = logits_BAV.log_softmax(-1).gather(-1, chosen_BA1)[..., 0]
        return (logps_BA * counted_BA).sum(1)

    def think(self, questions: Questions, *_: Any, **__: Any) -> Thought:
        """The end of the flow as the generator of latent answers takes it."""
        z_BMD = self.flow(questions).z[-1]
        cache, mask_BM = cache_of([]), self._seen(z_BMD)
        positions_BM = mask_BM.cumsum(1) - 1
        hidden_BMD = self.decoder.run(z_BMD, mask_BM, positions_BM, cache)
        last_BD = hidden_BMD[:, -1]
        position_B = mask_BM.sum(1)
        return Thought(last_BD, hidden_BMD, [part_of(cache)], mask_BM, position_B, last_BD)

    def save_pretrained(self, folder: Path | str) -> None:
        from apportion.policies.flow.folder import save_flow

        save_flow(self, folder)

    def own_state(self) -> dict[str, Tensor]:
        """What is not the network's."""
        state = self.state_dict()
        return {name: value for name, value in state.items() if not name.startswith("decoder.")}

    def _read(self, questions: Questions) -> Tensor:
        """Hidden states of the questions, (B, Q, D)."""
        mask_BQ = questions.mask_BQ
        positions_BQ = (mask_BQ.cumsum(1) - 1).clamp_min(0)
        embeds_BQD = self.decoder.embed(questions.ids_BQ)
        return self.decoder.run(embeds_BQD, mask_BQ, positions_BQ, cache_of([]))

    def _seen(self, z_BMD: Tensor) -> Tensor:
        return torch.ones(z_BMD.shape[:2], dtype=torch.long, device=z_BMD.device)
