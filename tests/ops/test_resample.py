"""Grids brought to other lengths."""

import pytest
import torch
from torch.nn import functional as F

from vitrail.ops.resample import resize_antialiased, resize_grid, resize_linear


@pytest.mark.parametrize(
    ("spatial", "wanted", "mode"),
    [((7,), (11,), "linear"), ((7, 5), (5, 9), "bicubic"), ((3, 4, 5), (5, 4, 3), "trilinear")],
)
def test_it_is_torch_s_interpolation_channels_last(
    spatial: tuple[int, ...], wanted: tuple[int, ...], mode: str
) -> None:
    x = torch.randn(2, *spatial, 3)
    found = resize_grid(x, wanted)
    assert found.shape == (2, *wanted, 3)
    assert torch.equal(found.movedim(-1, 1), F.interpolate(x.movedim(-1, 1), wanted, mode=mode))


def test_its_own_lengths_change_nothing() -> None:
    x = torch.randn(1, 4, 6, 3)
    assert resize_grid(x, (4, 6)) is x
    assert resize_grid(x, (6, 4)) is not x


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_constant_stays_itself(axes: int) -> None:
    x = torch.full((1, *[4] * axes, 2), 3.0)
    torch.testing.assert_close(resize_grid(x, (7,) * axes), torch.full((1, *[7] * axes, 2), 3.0))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_linearly_it_is_torch_s_too(axes: int) -> None:
    mode = ("linear", "bilinear", "trilinear")[axes - 1]
    x = torch.randn(2, *(5, 4, 3)[:axes], 2, dtype=torch.float64)
    for wanted in ((9, 7, 2), (1, 1, 1), (5, 8, 3), (2, 4, 11)):
        lengths = wanted[:axes]
        expected = F.interpolate(x.movedim(-1, 1), size=lengths, mode=mode).movedim(1, -1)
        torch.testing.assert_close(resize_linear(x, lengths), expected, rtol=0, atol=1e-13)


def test_linearly_its_own_lengths_change_nothing() -> None:
    x = torch.randn(1, 4, 6, 2)
    assert resize_linear(x, (4, 6)) is x


def test_antialiased_it_is_torch_s_too() -> None:
    for n, wanted in (((14, 14), (7, 20)), ((5, 9), (17, 3)), ((4, 4), (5, 4)), ((1, 3), (6, 1))):
        x = torch.randn(2, *n, 3, dtype=torch.float64)
        first = x.movedim(-1, 1)
        expected = F.interpolate(first, size=wanted, mode="bicubic", antialias=True).movedim(1, -1)
        torch.testing.assert_close(resize_antialiased(x, wanted), expected, rtol=0, atol=1e-13)
    assert resize_antialiased(x, (1, 3)) is x
