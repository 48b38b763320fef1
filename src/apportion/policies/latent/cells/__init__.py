"""The latent cells, one a file; options and formulas are in ``options``."""

from __future__ import annotations

from apportion.errors import UserError
from apportion.policies.latent.cells.base import Cell
from apportion.policies.latent.cells.hrpo import HrpoCell
from apportion.policies.latent.cells.identity import IdentityCell
from apportion.policies.latent.cells.lstm import LstmCell
from apportion.policies.latent.cells.mlp import MlpCell
from apportion.policies.latent.cells.soft import SoftCell
from apportion.policies.latent.decoder import Decoder
from apportion.policies.latent.options import (
    CellOptions,
    HrpoOptions,
    LstmOptions,
    MlpOptions,
    SoftOptions,
)

__all__ = ["Cell", "build_cell"]


def build_cell(options: CellOptions, decoder: Decoder) -> Cell:
    """The cell that the options describe, in the decoder's number format and on its device.

    Raises UserError where the cell needs hidden states of the size of the embeddings and the
    model's differ.
    """
    hidden, embedding = decoder.hidden_size, decoder.embedding_size
    match options:
        case MlpOptions():
            cell: Cell = MlpCell(options, hidden, embedding)
        case SoftOptions():
            cell = SoftCell(options, decoder)
        case LstmOptions():
            cell = LstmCell(options, hidden)
        case HrpoOptions():
            cell = HrpoCell(options, hidden)
        case _:
            cell = IdentityCell()
    if cell.same_size and hidden != embedding:
        raise UserError(
            f"latent.cell {type(options).model_fields['kind'].default}: the model's hidden states "
            f"have size {hidden}, its embeddings {embedding}: use latent.cell mlp, which projects"
        )
    return cell.to(device=decoder.device, dtype=decoder.dtype)
