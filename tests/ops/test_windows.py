"""Cutting a grid into windows, moving it: in one, two and three dimensions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support import Case, cases, refuses
from vitrail.ops.windows import (
    crop,
    pad,
    padded_lengths,
    partition,
    shift,
    unpartition,
    unshift,
)

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.int64)


def numbered(spatial: tuple[int, ...], batch: int = 2, channels: int = 3) -> torch.Tensor:
    """Return a grid on which every number is another."""
    shape = (batch, *spatial, channels)
    return torch.arange(torch.Size(shape).numel()).view(shape) + 1


@given(cases(), st.sampled_from(DTYPES))
def test_unpartition_undoes_partition(case: Case, dtype: torch.dtype) -> None:
    lengths = padded_lengths(case.spatial, case.size)
    x = numbered(lengths).to(dtype)
    windows = partition(x, case.size)
    assert torch.equal(unpartition(windows, case.size, lengths), x)
    again = partition(unpartition(windows, case.size, lengths), case.size)
    assert torch.equal(again, windows)


@given(cases())
def test_windows_and_their_tokens_are_row_major(case: Case) -> None:
    lengths = padded_lengths(case.spatial, case.size)
    x = numbered(lengths)
    windows = partition(x, case.size)
    counts = [n // m for n, m in zip(lengths, case.size, strict=True)]
    for number, place in enumerate(
        torch.cartesian_prod(*map(torch.arange, counts)).view(-1, len(counts))
    ):
        part = [slice(p * m, p * m + m) for p, m in zip(place.tolist(), case.size, strict=True)]
        assert torch.equal(windows[:, number], x[:, *part].flatten(1, -2))


@given(cases())
def test_unshift_undoes_shift(case: Case) -> None:
    x = numbered(padded_lengths(case.spatial, case.size))
    moved = shift(x, case.shift)
    assert torch.equal(unshift(moved, case.shift), x)
    assert torch.equal(moved, x.roll([-s for s in case.shift], list(range(1, x.ndim - 1))))


def test_no_shift_copies_nothing() -> None:
    x = numbered((4, 6))
    assert shift(x, (0, 0)) is x
    assert unshift(x, (0, 0)) is x


@given(cases())
def test_crop_undoes_pad(case: Case) -> None:
    x = numbered(case.spatial)
    lengths = padded_lengths(case.spatial, case.size)
    padded = pad(x, lengths)
    assert padded.shape[1:-1] == lengths
    assert torch.equal(crop(padded, case.spatial), x)
    assert padded.sum() == x.sum()  # the rest is zeros
    assert pad(padded, lengths) is padded


@given(cases())
def test_padded_lengths_are_the_least(case: Case) -> None:
    for n, m, length in zip(
        case.spatial, case.size, padded_lengths(case.spatial, case.size), strict=True
    ):
        assert length % m == 0
        assert n <= length < n + m


@pytest.mark.parametrize("cut", [partition, lambda x, w: unpartition(x, w, (8, 9))])
@pytest.mark.parametrize("window", [(3, 3), (0, 3), (2, -3)])
def test_a_window_that_does_not_divide_is_refused(cut: object, window: tuple[int, int]) -> None:
    x = torch.zeros(1, 8, 9, 2)
    with refuses(f"window={window} on a grid of (8, 9)", "pad the grid first, to ("):
        cut(x, window)  # type: ignore[operator]


def test_the_fix_for_a_window_names_lengths_that_work() -> None:
    with refuses("window=(3, 3)", "(9, 9)"):
        partition(torch.zeros(1, 8, 9, 2), (3, 3))
    assert partition(torch.zeros(1, 9, 9, 2), (3, 3)).shape == (1, 9, 9, 2)
