"""The nearest tokens and windows, against sorting all of them by distance."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from vitrail.patterns import Nearest
from vitrail.shapes import Size


def places(lengths: Size) -> Tensor:
    return torch.tensor(list(itertools.product(*map(range, lengths))))


def sorted_by_distance(middle: Tensor, lengths: Size, count: int) -> Tensor:
    """Return the numbers of the nearest places, equal distances in row-major order."""
    distance = (places(lengths) - middle).square().sum(-1)
    return distance.argsort(stable=True)[:count]


@pytest.mark.parametrize(
    ("window", "count", "spatial"),
    [
        ((3,), 4, (29,)),
        ((2, 3), 7, (9, 20)),
        ((2, 2), 30, (3, 40)),
        ((4, 4), 1, (1, 1)),
        ((1, 1), 200, (7, 9)),
        ((2, 1, 2), 11, (5, 4, 7)),
    ],
)
def test_keys_are_the_nearest_of_all(window: Size, count: int, spatial: Size) -> None:
    pattern = Nearest(window, count)
    groups, grid = pattern.groups(spatial), pattern.fit(spatial)
    size, tokens = torch.tensor(window), math.prod(spatial)
    for number, cell in enumerate(places(grid)):
        middle = torch.minimum(cell * size + size // 2, torch.tensor(spatial) - 1)
        near = sorted_by_distance(middle, spatial, count)
        cells = sorted_by_distance(cell, grid, count)
        assert torch.equal(groups.k_index[number], torch.cat((near, tokens + cells)))


def test_a_large_grid_takes_no_table_of_windows_and_tokens() -> None:
    """A distance for every window and token of this grid would be 100 GB."""
    groups = Nearest((7, 7), 128).groups((1024, 1024))
    assert groups.k_index.shape == (147**2, 256)
