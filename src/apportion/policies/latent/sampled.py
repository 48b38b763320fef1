"""Tokens that are sampled while thinking, and mixed with what the model had in mind (HRPO).

_B  rows    _K  latent steps    _D, _E  hidden state, embedding    _V  vocabulary

At step t a token y_t is drawn from p = softmax(logits(h) / temperature). The cell then gets its
embedding e(y_t) to carry and s = sum_v p_v E_v / sqrt(sum_v p_v^2), p at temperature 1, to admit
(HRPO, arXiv 2505.18454, section 3.1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from apportion.policies.latent.batch import IGNORED
from apportion.policies.latent.decoder import Decoder

# Ends a written thought, as in the solutions of the tasks.
ANSWER_MARK = "####"


class TokenSampler:
    """Draws the tokens of a batch's thoughts, or replays ``given_BK`` (IGNORED where a row thinks
    no more). A thought ends with ``ending``, or with one of ``stop_ids``.

    With ``through`` False nothing flows back through s, as in the code of the paper. Temperature 0
    takes the likeliest tokens.
    """

    def __init__(self, decoder: Decoder, *, through: bool = True) -> None:
        self._decoder = decoder
        self.through = through
        self.temperature = 0.0
        self.ending: tuple[int, ...] = ()
        self.stop_ids: frozenset[int] = frozenset()
        self.given_BK: Tensor | None = None
        self._drawn: list[Tensor] = []

    def begin(self, given_BK: Tensor | None = None) -> None:
        """Before a batch."""
        self.given_BK, self._drawn = given_BK, []

    def __call__(self, hidden_BD: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """(s (B, E), e(y) (B, E)) of step ``step``, from 0."""
        logits_BV = self._decoder.logits(hidden_BD)
        if self.given_BK is not None:
            token_B = self.given_BK[:, step].clamp_min(0)
        else:
            token_B = self._draw(logits_BV.detach())
            self._drawn.append(token_B)
        p_BV = logits_BV.softmax(-1)
        soft_BE = p_BV @ self._decoder.embeddings() / p_BV.norm(dim=-1, keepdim=True)
        return soft_BE if self.through else soft_BE.detach(), self._decoder.embed(token_B)

    def drawn(self) -> list[list[int]]:
        """The thought of each row so far, up to and with its end."""
        if not self._drawn:
            return []
        return [self._cut(ids) for ids in torch.stack(self._drawn, 1).tolist()]

    def all_ended(self) -> bool:
        """Whether no row thinks any more."""
        rows = torch.stack(self._drawn, 1).tolist()
        return all(self._end(ids) is not None for ids in rows)

    def _draw(self, logits_BV: Tensor) -> Tensor:
        if self.temperature <= 0:
            return logits_BV.argmax(-1)
        return torch.multinomial((logits_BV.float() / self.temperature).softmax(-1), 1)[:, 0]

    def _cut(self, ids: list[int]) -> list[int]:
        return ids[: self._end(ids)]

    def _end(self, ids: Sequence[int]) -> int | None:
        """How many tokens belong to the thought; None where it has not ended."""
        size = len(self.ending)
        for place, token in enumerate(ids, 1):
            ends = size and tuple(ids[max(0, place - size) : place]) == self.ending
            if ends or token in self.stop_ids:
                return place
        return None


def labels_of(thoughts: Sequence[Sequence[int]]) -> Tensor:
    """(B, K) token ids, IGNORED after a thought's end."""
    width = max(map(len, thoughts))
    return torch.tensor([[*ids, *[IGNORED] * (width - len(ids))] for ids in thoughts])
