"""Neighbours become one token, in the order that checkpoints are written in."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vitrail.ops.merging import merge


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(1, 3)), min_size=1, max_size=3),
    st.integers(1, 3),
)
def test_the_first_axis_is_the_fastest(axes: list[tuple[int, int]], channels: int) -> None:
    spatial, factor = (tuple(part) for part in zip(*axes, strict=True))
    x = torch.randn(2, *spatial, channels)
    merged = merge(x, factor)
    lengths = tuple(-(-n // f) for n, f in axes)
    padded = torch.zeros(2, *(n * f for n, f in zip(lengths, factor, strict=True)), channels)
    padded[:, *(slice(n) for n in spatial)] = x
    columns = []
    for backwards in itertools.product(*(range(f) for f in reversed(factor))):
        steps = zip(reversed(backwards), factor, strict=True)
        columns.append(padded[:, *(slice(start, None, f) for start, f in steps)])
    assert torch.equal(merged, torch.cat(columns, dim=-1))


def test_the_official_order_of_a_picture() -> None:
    x = torch.tensor([[0.0, 1.0], [10.0, 11.0]])[None, ..., None]  # row * 10 + column
    assert merge(x, (2, 2)).flatten().tolist() == [0.0, 10.0, 1.0, 11.0]


def test_the_official_order_of_a_volume() -> None:
    """MONAI's "mergingv2" is last axis fastest; its "merging" has an order of its own."""
    axes = [torch.tensor([0.0, weight]) for weight in (100, 10, 1)]
    x = axes[0][:, None, None] + axes[1][:, None] + axes[2]
    merged = merge(x[None, ..., None], (2, 2, 2)).flatten().tolist()
    assert merged == [0, 100, 10, 110, 1, 101, 11, 111]


@pytest.mark.parametrize("frames", [1, 3])
def test_video_keeps_its_frames(frames: int) -> None:
    x = torch.randn(2, frames, 4, 6, 5)
    merged = merge(x, (1, 2, 2))
    assert merged.shape == (2, frames, 2, 3, 20)
    assert torch.equal(merged[:, 0], merge(x[:, 0], (2, 2)))
