"""SIM-CoT's decoder: writes a step of the solution from the latents of that step.

It is used in training, to keep latents apart and full of the step they stand for, and afterwards to
read them. Answers are given without it.

_B rows   _K latent steps   _D size of a hidden state   _C latents of a step   _T tokens of a step
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from apportion.errors import UserError
from apportion.policies.latent.batch import IGNORED
from apportion.policies.latent.model import LatentModel

_FILE = "step_decoder.safetensors"


class StepDecoder(nn.Module):
    """A copy of the model's network, with its weights at the start, that reads the ``per_step``
    hidden states of a step through a linear map and writes the step (arXiv 2509.20317)."""

    def __init__(self, model: LatentModel, per_step: int, stop_id: int) -> None:
        super().__init__()
        self.per_step = per_step
        self.stop_id = stop_id
        self.network = copy.deepcopy(model.network)
        for parameter in self.network.parameters():
            parameter.requires_grad_(True)
        read = nn.Linear(model.decoder.hidden_size, model.decoder.embedding_size)
        self.read = read.to(device=model.device, dtype=model.decoder.dtype)

    def loss(self, states_BKD: Tensor, steps: Sequence[Sequence[list[int]]]) -> tuple[Tensor, int]:
        """(mean cross-entropy over the tokens of the steps that have latents, how many these are).

        ``steps`` are token ids of each row's written steps. (0, 0) where no step has latents.
        """
        room = states_BKD.shape[1] // self.per_step
        pairs = [(b, t) for b, of in enumerate(steps) for t in range(min(room, len(of)))]
        if not pairs:
            return states_BKD.sum() * 0.0, 0
        written = [torch.tensor([*steps[b][t], self.stop_id]) for b, t in pairs]
        width = max(map(len, written))
        labels_NT = torch.stack([pad(ids, (0, width - len(ids)), value=IGNORED) for ids in written])
        labels_NT = labels_NT.to(states_BKD.device)
        prefix_NCE = self._prefix(states_BKD, pairs)
        given_NTE = self._embed(labels_NT[:, :-1].clamp_min(0))
        logits = self.network(inputs_embeds=torch.cat([prefix_NCE, given_NTE], 1)).logits
        logits = logits[:, self.per_step - 1 :]
        count = int((labels_NT != IGNORED).sum())
        flat = logits.flatten(0, 1), labels_NT.flatten()
        return cross_entropy(*flat, ignore_index=IGNORED), count

    @torch.no_grad()
    def decode(self, states_BKD: Tensor, max_tokens: int = 32) -> list[list[list[int]]]:
        """What it writes, greedily, for each step that the latents have room for, row by row."""
        rows, room = len(states_BKD), states_BKD.shape[1] // self.per_step
        pairs = [(b, t) for b in range(rows) for t in range(room)]
        if not pairs:
            return [[] for _ in range(rows)]
        embeds = self._prefix(states_BKD, pairs)
        tokens = []
        done = torch.zeros(len(pairs), dtype=torch.bool, device=embeds.device)
        for _ in range(max_tokens):
            chosen_N = self.network(inputs_embeds=embeds).logits[:, -1].argmax(-1)
            tokens.append(chosen_N)
            done |= chosen_N == self.stop_id
            if bool(done.all()):
                break
            embeds = torch.cat([embeds, self._embed(chosen_N[:, None])], dim=1)
        found = [self._cut(ids) for ids in torch.stack(tokens, 1).tolist()]
        return [found[b * room : (b + 1) * room] for b in range(rows)]

    def save(self, folder: Path | str) -> None:
        """Write the weights beside those of the latent model."""
        weights = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        weights |= {f"read.{k}": v for k, v in self.read.state_dict().items()}
        weights |= {"shape": torch.tensor([self.per_step, self.stop_id])}
        # Tied weights are one tensor under two names, which the format refuses.
        save_file({k: v.detach().clone().contiguous() for k, v in weights.items()},
                  Path(folder) / _FILE)  # fmt: skip

    def load(self, folder: Path | str) -> None:
        """Take over what ``save`` wrote. Raises UserError where it does not fit."""
        file = Path(folder) / _FILE
        try:
            weights = load_file(file)
            del weights["shape"]
            self.load_state_dict(weights)
        except (OSError, KeyError, RuntimeError) as error:
            reason = str(error).strip().split("\n")[0]
            raise UserError(f"{file}: does not fit the model beside it ({reason})") from None

    def _prefix(self, states_BKD: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
        c = self.per_step
        states = [states_BKD[b, t * c : (t + 1) * c] for b, t in pairs]
        return self.read(torch.stack(states))

    def _embed(self, ids: Tensor) -> Tensor:
        return self.network.get_input_embeddings()(ids)

    def _cut(self, ids: list[int]) -> list[int]:
        return ids[: ids.index(self.stop_id)] if self.stop_id in ids else ids


def read_step_decoder(folder: Path | str, model: LatentModel) -> StepDecoder | None:
    """The decoder that was saved beside the model; None where there is none. Raises UserError where
    it does not fit the model."""
    file = Path(folder) / _FILE
    if not file.is_file():
        return None
    per_step, stop_id = load_file(file)["shape"].tolist()
    decoder = StepDecoder(model, per_step, stop_id)
    decoder.load(folder)
    return decoder.eval()
