"""Everyone sees a pooled grid; its cells' boxes are what convolution and pooling read."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from tests.support import refuses
from vitrail.patterns import Pattern, Pooled, Reduced
from vitrail.shapes import Size

CONVOLVE = (F.conv1d, F.conv2d, F.conv3d)
AVERAGE = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)


@st.composite
def grids(draw: st.DrawFn) -> tuple[Size, Size]:
    """Draw a grid, and a number an axis: a reduction or a size, smaller or larger than it."""
    axes = draw(st.integers(1, 3))
    longest = {1: 23, 2: 9, 3: 5}[axes]
    spatial = tuple(draw(st.integers(1, longest)) for _ in range(axes))
    return spatial, tuple(draw(st.integers(1, 7)) for _ in range(axes))


def support(pool: Callable[[Tensor], Tensor], spatial: Size) -> Tensor:
    """Return ``[cells, *spatial]``: the tokens to which each cell's value answers."""
    x = torch.zeros(1, 1, *spatial, dtype=torch.float64, requires_grad=True)
    cells = pool(x).flatten()
    each = torch.eye(len(cells), dtype=torch.float64)
    (gradient,) = torch.autograd.grad(cells, x, each, is_grads_batched=True)
    return gradient[:, 0, 0] != 0


def boxes(pattern: Pattern, spatial: Size) -> Tensor:
    """Return ``[cells, *spatial]``: the tokens inside the box of each cell."""
    box = pattern.groups_with_boxes(spatial).k_box
    assert box is not None
    inside = torch.zeros(box.shape[1] - pattern.prefix, *spatial, dtype=torch.bool)
    for cell, bounds in enumerate(box[0, pattern.prefix :].tolist()):
        sides = zip(bounds[0::2], bounds[1::2], strict=True)
        inside[(cell, *(slice(lo, hi) for lo, hi in sides))] = True
    return inside


@given(grids(), st.integers(0, 2))
def test_a_reduced_key_is_what_its_convolution_reads(case: tuple[Size, Size], prefix: int) -> None:
    spatial, reduction = case
    kernel = torch.ones(1, 1, *reduction, dtype=torch.float64)

    def convolve(x: Tensor) -> Tensor:
        # An axis shorter than the kernel is padded up to it; nothing else is.
        for axis, r in enumerate(reversed(reduction)):
            missing = max(0, r - x.shape[-1 - axis])
            x = F.pad(x, [0, 0] * axis + [0, missing])
        return CONVOLVE[len(spatial) - 1](x, kernel, stride=reduction)

    assert torch.equal(boxes(Reduced(reduction, prefix), spatial), support(convolve, spatial))


@given(grids())
def test_a_pooled_key_is_what_the_average_reads(case: tuple[Size, Size]) -> None:
    spatial, size = case
    average = AVERAGE[len(spatial) - 1]
    found = support(lambda x: average(x, size), spatial)  # type: ignore[arg-type]
    assert torch.equal(boxes(Pooled(size), spatial), found)


@pytest.mark.parametrize(
    ("spatial", "reduction", "grid"),
    [
        ((56, 56), (8, 8), (7, 7)),
        ((57, 63), (8, 8), (7, 7)),
        ((7, 17), (8, 8), (1, 2)),
        ((1, 1), (2, 2), (1, 1)),
        ((5,), (1,), (5,)),
        ((4, 9, 10), (2, 3, 4), (2, 3, 2)),
    ],
)
def test_a_reduced_grid_is_never_empty(spatial: Size, reduction: Size, grid: Size) -> None:
    assert Reduced(reduction).fit(spatial) == grid
    assert Reduced(reduction).groups(spatial).grids == (grid,)


def test_boxes_by_hand() -> None:
    box = Reduced((2, 4), prefix=1).groups_with_boxes((5, 3)).k_box
    assert box is not None
    assert box.tolist() == [[[-1, -1, -1, -1], [0, 2, 0, 3], [2, 4, 0, 3]]]
    box = Pooled((2,)).groups_with_boxes((5,)).k_box
    assert box is not None
    assert box.tolist() == [[[0, 3], [2, 5]]]


def test_the_pairs_of_the_published_stages() -> None:
    """56 x 56 tokens reduced by 8, or pooled to 7: 49 keys for every token, 64 times fewer."""
    assert Reduced((8, 8)).pairs((56, 56)) == Pooled((7, 7)).pairs((56, 56)) == 3136 * 49
    assert 3136**2 // Reduced((8, 8)).scores((56, 56)) == 64
    # PVT's last stage: a CLS token, and no reduction.
    assert Reduced((1, 1), prefix=1).pairs((7, 7)) == 50**2
    assert Pooled((7, 7)).pairs((1, 1)) == 49


@pytest.mark.parametrize(
    ("make", "given", "fix"),
    [
        (lambda: Reduced((0, 8)), "reduction=(0, 8)", "reduction=(1, 8)"),
        (lambda: Reduced((8, 2.5)), "reduction=(8, 2.5)", "reduction=(8, 2)"),  # type: ignore[arg-type]
        (lambda: Reduced((8, 8), prefix=-1), "prefix=-1", "prefix=0"),
        (lambda: Pooled((7, 0)), "size=(7, 0)", "size=(7, 1)"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], Pattern], given: str, fix: str) -> None:
    with refuses(given, fix):
        make()


@pytest.mark.parametrize("method", ["groups", "pairs", "scores", "allowed"])
def test_a_grid_of_other_axes_is_refused(method: str) -> None:
    with refuses("a grid of (4, 4, 4) tokens for reduction=(2, 2)", "reduction=(2, 2, 2)"):
        getattr(Reduced((2, 2)), method)((4, 4, 4))
    with refuses("a grid of (4,) tokens for size=(7, 7)", "size=(7,)"):
        getattr(Pooled((7, 7)), method)((4,))
