"""Reading and thinking in turns: text arrives, latent steps are taken, more text arrives.

_B  rows    _T  positions of a chunk    _L  positions so far    _E, _D  embedding, hidden state

Everything stays in one key-value cache and, where gradients are recorded, on one graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from apportion.errors import UserError
from apportion.policies.latent.cache import cache_of
from apportion.policies.latent.model import LatentModel


class Conversation:
    """Rows that read chunks of different lengths and think for the same number of steps.

    ``hidden_BD`` is the hidden state after the last position of each row, from which the next token
    is read. With ``carry_memory`` the cell goes on in a turn with what it carried in the one
    before.
    """

    hidden_BD: Tensor

    def __init__(self, model: LatentModel, rows: int, *, carry_memory: bool = False) -> None:
        self._model = model
        self._cache = cache_of([])
        self._mask_BL = torch.zeros(rows, 0, dtype=torch.long, device=model.device)
        self._count_B = torch.zeros(rows, dtype=torch.long, device=model.device)
        self._last_BE = torch.zeros(0)
        self._carried_BE: Tensor | None = None
        self._carry_memory = carry_memory
        self._private: list[tuple[int, int]] = []

    def read(self, chunks: Sequence[Sequence[int]], *, thought: bool = False) -> Tensor:
        """Append a chunk of token ids to each row, an empty one to a row that has nothing to read.

        Returns the hidden states (B, T, D) of the chunks, padded on the left. ``thought`` marks
        them as something that :meth:`hide` takes away. Raises UserError where the context is full.
        """
        width = max(map(len, chunks))
        device = self._model.device
        ids_BT = torch.tensor([[0] * (width - len(c)) + list(c) for c in chunks], device=device)
        mask_BT = torch.tensor(
            [[0] * (width - len(c)) + [1] * len(c) for c in chunks], device=device
        )
        embeds_BTE = self._model.decoder.embed(ids_BT)
        hidden_BTD = self._append(embeds_BTE, mask_BT, thought)
        read_B1 = mask_BT[:, -1:].bool()
        first = self._mask_BL.shape[1] == width
        self.hidden_BD = (
            hidden_BTD[:, -1] if first else torch.where(read_B1, hidden_BTD[:, -1], self.hidden_BD)
        )
        self._last_BE = (
            embeds_BTE[:, -1] if first else torch.where(read_B1, embeds_BTE[:, -1], self._last_BE)
        )
        return hidden_BTD

    def think(self, steps: int) -> None:
        """Take latent steps in all rows."""
        model = self._model
        carried_BE = self._carried_BE
        if carried_BE is None or not self._carry_memory:
            carried_BE = model.cell.start(self._last_BE)
        for step in range(steps):
            latent_BE, carried_BE = model.next_input(self.hidden_BD, carried_BE, step)
            one_B1 = torch.ones_like(self._count_B)[:, None]
            self.hidden_BD = self._append(latent_BE[:, None], one_B1, True)[:, 0]
        self._carried_BE = carried_BE

    def hide(self) -> None:
        """Take what was thought so far out of the sight of all that comes. Positions stay."""
        self._mask_BL = self._mask_BL.clone()
        for start, stop in self._private:
            self._mask_BL[:, start:stop] = 0
        self._private = []

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone."""
        index = torch.tensor(list(rows), device=self._model.device)
        self._cache.batch_select_indices(index)
        self._mask_BL, self._count_B = self._mask_BL[index], self._count_B[index]
        self.hidden_BD, self._last_BE = self.hidden_BD[index], self._last_BE[index]
        if self._carried_BE is not None:
            self._carried_BE = self._carried_BE[index]

    def _append(self, embeds_BTE: Tensor, mask_BT: Tensor, thought: bool) -> Tensor:
        before = self._mask_BL.shape[1]
        self._mask_BL = torch.cat([self._mask_BL, mask_BT], dim=1)
        positions_BT = (self._count_B[:, None] + mask_BT.cumsum(1) - 1).clamp_min(0)
        self._count_B = self._count_B + mask_BT.sum(1)
        self._check_room()
        hidden_BTD = self._model.decoder.run(embeds_BTE, self._mask_BL, positions_BT, self._cache)
        if thought:
            self._private.append((before, before + mask_BT.shape[1]))
        return hidden_BTD

    def _check_room(self) -> None:
        context = getattr(self._model.config, "max_position_embeddings", None)
        longest = int(self._count_B.max())
        if context and longest > context:
            raise UserError(
                f"an episode takes {longest} positions, the model has {context}: use fewer latent "
                "steps, shorter thoughts or fewer turns"
            )
