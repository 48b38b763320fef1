"""Products with a weight are the plain ones, however many rows there are."""

import pytest
import torch

from apportion.policies.latent import products
from apportion.policies.latent.products import across, along


def random(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [1, 3, 4, 5, 70])
@pytest.mark.parametrize(("outs", "ins"), [(24, 16), (16, 24), (16, 16)])
def test_each_way_is_the_plain_product(outs, ins, rows, bias, dtype, wide, monkeypatch):
    monkeypatch.setattr(products, "_WIDE", wide)
    weight_OI = random(outs, ins, dtype=dtype)
    rows_RI, bias_O = random(rows, ins, dtype=dtype), random(outs, dtype=dtype)
    rows_RO, bias_I = random(rows, outs, dtype=dtype), random(ins, dtype=dtype)
    close = {"rtol": 2e-2, "atol": 2e-1} if dtype == torch.bfloat16 else {}
    torch.testing.assert_close(
        across(rows_RI, weight_OI, bias_O if bias else None),
        rows_RI @ weight_OI.t() + (bias_O if bias else 0),
        **close,
    )
    torch.testing.assert_close(
        along(rows_RO, weight_OI, bias_I if bias else None),
        rows_RO @ weight_OI + (bias_I if bias else 0),
        **close,
    )


def test_without_onednn_it_is_the_plain_product_too(monkeypatch):
    monkeypatch.setattr(products, "_WIDE", True)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    weight_OI, rows_RI = random(24, 16), random(7, 16)
    assert torch.equal(across(rows_RI, weight_OI), rows_RI @ weight_OI.t())
