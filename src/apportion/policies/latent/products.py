"""Products of rows with a weight, each by the fastest of torch's ways to it.

    _R  rows        _O, _I  the two sides of a weight, which lies in memory row by row of its I

On a processor a few rows are bound by how fast the weight comes out of memory, many by how the
product is laid out; the plain product is not the fastest of either.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Up to so many rows the product is made the other way round.
_FEW = 4
# Where oneDNN's blocks of a weight are a tenth faster than the plain product; with shorter vectors
# they are a tenth to a quarter slower.
_WIDE = torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def across(rows_RI: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """(R, O): each row against each row of the weight, plus the bias."""
    few = len(rows_RI) <= _FEW and weight_OI.shape[0] >= weight_OI.shape[1]
    if few and rows_RI.is_cpu:
        found_RO = (weight_OI @ rows_RI.t()).t().contiguous()
        return found_RO if bias_O is None else found_RO.add_(bias_O)
    if _blocked(rows_RI, weight_OI):
        return _linear(rows_RI, weight_OI, bias_O)
    product_RO = rows_RI @ weight_OI.t()
    return product_RO if bias_O is None else product_RO + bias_O


def along(rows_RO: Tensor, weight_OI: Tensor, bias_I: Tensor | None = None) -> Tensor:
    """(R, I): the weight's rows, each times its number in a row, summed, plus the bias."""
    if _blocked(rows_RO, weight_OI):
        return _linear(rows_RO, weight_OI.t(), bias_I)
    product_RI = rows_RO @ weight_OI
    return product_RI if bias_I is None else product_RI + bias_I


def _blocked(rows: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN can make the product, and faster."""
    plain = rows.dtype == weight.dtype == torch.float32
    return _WIDE and plain and rows.is_cpu and torch.backends.mkldnn.is_available()


def _linear(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # What torch.compile makes of a linear layer on a processor; it has no public name.
    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
