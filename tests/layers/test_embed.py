"""Patches become tokens, whatever the input's size."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.support import drawn, refuses
from vitrail.layers import PatchEmbed


def tokens_by_hand(layer: PatchEmbed, x: Tensor) -> Tensor:
    """Project each patch by a product, for a patch that divides a picture."""
    p, q = layer.patch
    rows, columns = x.shape[2] // p, x.shape[3] // q
    cut = x.view(len(x), -1, rows, p, columns, q).permute(0, 2, 4, 1, 3, 5).flatten(3)
    return layer.norm(cut @ layer.proj.weight.flatten(1).T + layer.proj.bias)


def test_a_token_is_a_product_of_its_patch() -> None:
    layer = drawn(PatchEmbed(3, 8, (2, 3)))
    x = torch.randn(2, 3, 8, 9)
    torch.testing.assert_close(layer(x), tokens_by_hand(layer, x))


@pytest.mark.parametrize("fit", ["pad", "floor"])
def test_an_input_that_the_patch_does_not_divide(fit: Any) -> None:
    layer = drawn(PatchEmbed(3, 8, (2, 3), patch_fit=fit))
    x = torch.randn(2, 3, 7, 8)
    whole = F.pad(x, (0, 1, 0, 1)) if fit == "pad" else x[:, :, :6, :6]
    torch.testing.assert_close(layer(x), tokens_by_hand(layer, whole))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_patches_that_overlap_reach_into_their_neighbours(axes: int) -> None:
    patch, overlap = (2,) * axes, (1,) * axes
    layer = drawn(PatchEmbed(3, 8, patch, overlap=overlap))
    assert layer.proj.weight.shape[2:] == (4,) * axes
    x = torch.zeros(1, 3, *(8,) * axes)
    x[(0, 0, *(4,) * axes)] = 1.0  # the first sample of the third patch
    plain = layer(torch.zeros_like(x))
    changed = (layer(x) != plain).any(-1)[0]
    assert torch.equal(changed.nonzero().unique(), torch.tensor([1, 2]))
    assert changed.shape == (4,) * axes


def test_without_a_norm() -> None:
    layer = PatchEmbed(1, 4, (2,), norm=False)
    x = torch.randn(2, 1, 6)
    assert torch.equal(layer(x), layer.proj(x).mT)


def test_what_cannot_be_is_refused() -> None:
    with refuses("patch=(2, 2, 2, 2)", "patch=(4, 4)"):
        PatchEmbed(3, 8, (2, 2, 2, 2))
    with refuses("patch_fit='crop'", "patch_fit='pad'"):
        PatchEmbed(3, 8, (2, 2), patch_fit="crop")  # type: ignore[arg-type]
