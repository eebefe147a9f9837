"""Cutting a grid into windows, moving it, labelling it: in one, two and three dimensions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support import Case, cases, refuses
from vitrail.ops.windows import (
    crop,
    known_zero,
    pad,
    padded_lengths,
    partition,
    places,
    regions,
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


@given(cases(rules=("always",)), st.booleans())
def test_regions_tell_what_a_window_brought_together(case: Case, mask_padding: bool) -> None:
    """Equal labels: neither token is padding, and both come from the same side of the edge."""
    labels = regions(case.spatial, case.size, case.shift, mask_padding=mask_padding)
    lengths = padded_lengths(case.spatial, case.size)
    place = torch.stack(
        torch.meshgrid(*(torch.arange(n) for n in lengths), indexing="ij"), dim=-1
    )[None]  # fmt: skip
    place = partition(shift(place, case.shift), case.size)
    wrapped = (place < torch.tensor(case.shift))[0]
    padding = (place >= torch.tensor(case.spatial)).any(-1)[0]
    together = labels[0, :, :, None] == labels[0, :, None, :]
    expected = (wrapped[:, :, None] == wrapped[:, None]).all(-1)
    if mask_padding:
        neither = ~padding[:, :, None] & ~padding[:, None]
        expected = (expected & neither) | (padding[:, :, None] & padding[:, None])
        assert torch.equal(labels[0] == -1, padding)
    assert torch.equal(together, expected)


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


@given(cases())
def test_places_are_where_padding_shifting_and_cutting_bring_the_tokens(case: Case) -> None:
    window, amount = case.pattern.fit(case.spatial)
    index, label = places(case.spatial, window, amount)
    assert index.dtype == torch.int32
    expected = regions(case.spatial, window, amount, mask_padding=False)[0]
    label = torch.zeros_like(index) if label is None else label
    assert label.dtype == torch.int32
    same = label[:, :, None] == label[:, None]
    assert torch.equal(same, expected[:, :, None] == expected[:, None])
    assert torch.equal(index, case.pattern.groups(case.spatial).q_index.int())
    grid = numbered(case.spatial, batch=1, channels=1)
    windows = partition(shift(pad(grid, padded_lengths(case.spatial, window)), amount), window)
    assert torch.equal(index, windows[0, ..., 0].int() - 1)  # padding is zero, then -1


def test_what_is_known_to_be_zero() -> None:
    assert known_zero(0, 0)
    assert known_zero()
    assert not known_zero(0, 1)
    assert not known_zero(-1)
