"""Tokens see their own line."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support import refuses
from vitrail.patterns import Axial
from vitrail.shapes import Size

grids = st.lists(st.integers(1, 7), min_size=1, max_size=3).map(tuple)


@given(grids, st.integers(0, 2))
def test_groups_are_what_movedim_cuts(spatial: Size, number: int) -> None:
    """The view that the docstring promises to layers, on tokens with a batch and channels."""
    axis = number % len(spatial)
    lines, length = Axial(axis).fit(spatial)
    x = torch.arange(lines * length).view(1, *spatial, 1)
    cut = x.movedim(1 + axis, -2).reshape(1, lines, length, 1)
    assert torch.equal(Axial(axis).groups(spatial).q_index, cut[0, ..., 0])


def test_lines_by_hand() -> None:
    assert Axial(0).groups((2, 3)).q_index.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert Axial(1).groups((2, 3)).k_index.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert Axial(1).groups((2, 2, 2)).q_index.tolist() == [[0, 2], [1, 3], [4, 6], [5, 7]]


def test_a_grid_costs_its_lines() -> None:
    assert Axial(0).pairs((56, 48)) == Axial(0).scores((56, 48)) == 48 * 56**2
    assert Axial(1).pairs((56, 48)) == Axial(1).scores((56, 48)) == 56 * 48**2


@pytest.mark.parametrize(("axis", "fix"), [(-1, "axis=0"), (0.5, "axis=0"), (None, "axis=0")])
def test_what_cannot_be_is_refused(axis: object, fix: str) -> None:
    with refuses(f"axis={axis!r}", fix):
        Axial(axis)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["groups", "pairs", "scores", "allowed", "fit"])
def test_a_grid_without_the_axis_is_refused(method: str) -> None:
    with refuses("axis=3 on a grid of (4, 5) tokens", "axis=1"):
        getattr(Axial(3), method)((4, 5))
