"""What a latent cell is."""

from __future__ import annotations

from torch import Tensor, nn


class Cell(nn.Module):
    """Makes the input of the next latent step.

    ``_B`` rows, ``_D`` size of the hidden state, ``_E`` size of the embeddings. A cell of one row
    never looks at another row.
    """

    # Whether hidden states are used where embeddings go, so that D must equal E.
    same_size = True

    def start(self, embedding_BE: Tensor) -> Tensor:
        """What is carried into the first step, (B, E), given the question's last embedding."""
        return embedding_BE

    def forward(self, hidden_BD: Tensor, carried_BE: Tensor) -> tuple[Tensor, Tensor]:
        """(input of the step (B, E), what is carried into the next one (B, E))."""
        raise NotImplementedError
