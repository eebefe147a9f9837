"""Tokens see the tokens a multiple of the stride away."""

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support import refuses
from vitrail.patterns import Grid
from vitrail.shapes import Size

axes = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 5)), min_size=1, max_size=3)


@given(axes)
def test_allowed_is_what_the_words_say(lengths: list[tuple[int, int]]) -> None:
    """Two tokens meet when each of their distances is a multiple of the stride, rounded up."""
    spatial, size = (tuple(part) for part in zip(*lengths, strict=True))
    places = list(product(*(range(n) for n in spatial)))
    strides = [next(s for s in range(1, n + 1) if s * m >= n) for n, m in lengths]
    expected = [
        [all((a - b) % s == 0 for a, b, s in zip(q, k, strides, strict=True)) for k in places]
        for q in places
    ]
    assert Grid(size).allowed(spatial).tolist() == expected


def test_groups_by_hand() -> None:
    """Five tokens at three a group: the stride is two, and the odd ones are one short."""
    groups = Grid((3,)).groups((5,))
    assert groups.q_index.tolist() == [[0, 2, 4], [1, 3, -1]]
    assert groups.labels[1].tolist() == [[0, 0, 0], [0, 0, -1]]
    square = Grid((2, 2)).groups((4, 2))
    assert square.k_index.tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]


def test_groups_are_what_unflatten_cuts() -> None:
    """The view that the docstring promises to layers, on a grid that the size divides."""
    x = torch.arange(6 * 8).view(6, 8)
    cut = x.unflatten(1, (4, 2)).unflatten(0, (3, 2)).permute(1, 3, 0, 2).reshape(4, 12)
    assert torch.equal(Grid((3, 4)).groups((6, 8)).q_index, cut)


def test_a_short_axis_is_one_group() -> None:
    assert Grid((7, 7)).fit((5, 15)) == (1, 3)
    assert Grid((7,)).groups((3,)).q_index.tolist() == [[0, 1, 2, -1, -1, -1, -1]]


def test_closed_forms_at_a_published_size() -> None:
    assert Grid((7, 7)).pairs((56, 56)) == Grid((7, 7)).scores((56, 56)) == 56**2 * 49
    assert Grid((7, 7)).pairs((57, 56)) == (3 * 7**2 + 6 * 6**2) * 8 * 7**2
    assert Grid((7, 7)).scores((57, 56)) == 9 * 8 * 49**2


@pytest.mark.parametrize(("size", "fix"), [((0, 7), "grid="), ((-1,), "grid=")])
def test_what_cannot_be_is_refused(size: Size, fix: str) -> None:
    with refuses(f"grid={size!r}", fix):
        Grid(size)


@pytest.mark.parametrize("method", ["groups", "pairs", "scores", "allowed", "fit"])
def test_a_grid_of_another_rank_is_refused(method: str) -> None:
    with refuses("a grid of (4, 5) tokens for grid=(7,)", "grid=(7, 7)"):
        getattr(Grid((7,)), method)((4, 5))
