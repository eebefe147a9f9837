"""A bias that depends on offsets alone, on a grid of any size."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support import drawn
from vitrail.layers import OffsetBias
from vitrail.ops.relative import log_offsets

LENGTHS = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)


@given(LENGTHS)
def test_every_pair_has_the_number_of_its_offset(lengths: tuple[int, ...]) -> None:
    bias = drawn(OffsetBias(len(lengths), 3, hidden=5)).double()
    found = bias(lengths)
    place = torch.cartesian_prod(*(torch.arange(n) for n in lengths)).view(-1, len(lengths))
    offset = (place[:, None] - place[None]).double()
    near = offset.sign() * (1 + offset.abs()).log2() / 3
    expected = (16 * bias.mlp(near).sigmoid() - 8).permute(2, 0, 1)
    torch.testing.assert_close(found, expected)


@given(LENGTHS, st.data())
def test_pairs_may_be_picked(lengths: tuple[int, ...], data: st.DataObject) -> None:
    bias = drawn(OffsetBias(len(lengths), 2, hidden=5))
    tokens = st.integers(0, math.prod(lengths) - 1)
    picks = st.lists(st.lists(tokens, min_size=3, max_size=3), min_size=2, max_size=2)
    q, k = (torch.tensor(data.draw(picks)) for _ in range(2))
    found = bias.between(q, k[:, :2], lengths)
    assert found.shape == (2, 2, 3, 2)
    for group in range(2):
        expected = bias(lengths)[:, q[group]][:, :, k[group, :2]]
        torch.testing.assert_close(found[group], expected)


def test_a_grid_that_grows_keeps_the_numbers_it_had() -> None:
    bias = drawn(OffsetBias(2, 3, hidden=5))
    small, large = bias((3, 4)), bias((7, 9))
    inside = torch.tensor([row * 9 + column for row in range(3) for column in range(4)])
    torch.testing.assert_close(large[:, inside][:, :, inside], small)


def test_the_window_of_the_paper_spans_minus_one_to_one() -> None:
    offsets = log_offsets((8,))
    assert offsets[0] == -1
    assert offsets[-1] == 1
    assert offsets[7] == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_coordinates_come_in_the_type_of_the_weights(dtype: torch.dtype) -> None:
    bias = drawn(OffsetBias(2, 3, hidden=5)).to(dtype)
    assert bias((2, 3)).dtype == dtype


def test_numbers_stay_between_minus_and_plus_eight() -> None:
    bias = drawn(OffsetBias(1, 2, hidden=5))
    with torch.no_grad():
        next(iter(bias.mlp.parameters())).mul_(1e6)
    assert bias((40,)).abs().max() == 8
