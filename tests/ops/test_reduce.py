"""Averages over cells are torch's adaptive average pooling, channels-last and exportable."""

import pytest
import torch
from torch.nn import functional as F

from vitrail.ops.reduce import adaptive_mean
from vitrail.shapes import Size

POOLS = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}


@pytest.mark.parametrize(
    ("spatial", "size"),
    [
        ((14,), (7,)),
        ((13,), (7,)),
        ((3,), (7,)),
        ((1,), (5,)),
        ((7, 20), (7, 7)),
        ((5, 33), (4, 6)),
        ((9, 1), (2, 3)),
        ((4, 5, 7), (2, 3, 4)),
        ((1, 2, 9), (3, 2, 1)),
    ],
)
def test_it_is_torch_s_adaptive_pooling(spatial: Size, size: Size) -> None:
    x = torch.randn(2, *spatial, 3, dtype=torch.float64, requires_grad=True)
    expected = POOLS[len(size)](x.movedim(-1, 1), size).movedim(1, -1)
    found = adaptive_mean(x, size)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    weights = torch.randn_like(found)
    gradients = [torch.autograd.grad((y * weights).sum(), x)[0] for y in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-14)


def test_half_precision_stays_so() -> None:
    x = torch.rand(1, 23, 4, dtype=torch.bfloat16)
    found = adaptive_mean(x, (5,))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), adaptive_mean(x.float(), (5,)), rtol=0.02, atol=0.01)
