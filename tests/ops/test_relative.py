"""Where a key lies as seen from a query."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vitrail.ops.relative import log_coordinates, offsets, relative_index, sliced_index

WINDOWS = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


def places(window: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the places of a window's tokens, row-major."""
    count = math.prod(window)
    return [
        tuple(i // math.prod(window[axis + 1 :]) % window[axis] for axis in range(len(window)))
        for i in range(count)
    ]


@given(WINDOWS)
def test_offsets_are_query_minus_key(window: tuple[int, ...]) -> None:
    found = offsets(window)
    where = places(window)
    for i, query in enumerate(where):
        for j, key in enumerate(where):
            assert found[i, j].tolist() == [a - b for a, b in zip(query, key, strict=True)]


@given(WINDOWS, st.data())
def test_equal_offsets_share_a_row_and_no_others(
    window: tuple[int, ...], data: st.DataObject
) -> None:
    full = tuple(data.draw(st.integers(m, m + 2)) for m in window)
    index = relative_index(window, full)
    rows = {}
    for offset, row in zip(offsets(window).flatten(0, 1).tolist(), index.flatten(), strict=True):
        assert rows.setdefault(tuple(offset), int(row)) == int(row)
    assert len(set(rows.values())) == len(rows) == math.prod(2 * m - 1 for m in window)
    assert min(rows.values()) >= 0
    assert max(rows.values()) < math.prod(2 * m - 1 for m in full)


def test_the_official_formula() -> None:
    """(dh + Mh - 1)(2 Mw - 1) + (dw + Mw - 1), with d = query - key."""
    index = relative_index((3, 4))
    for i, (row, column) in enumerate(places((3, 4))):
        for j, (other_row, other_column) in enumerate(places((3, 4))):
            assert index[i, j] == (row - other_row + 2) * 7 + (column - other_column + 3)


@pytest.mark.parametrize("window", [(7, 3), (3, 7), (2, 2), (8, 7, 3), (8, 3, 7), (5, 7, 7)])
def test_a_shrunken_window_reads_the_rows_of_its_true_offsets(window: tuple[int, ...]) -> None:
    """FACTS: the corner of the full index is right only where the first axis alone is shorter."""
    full = (8, 7, 7)[-len(window) :]
    strides = [math.prod(2 * m - 1 for m in full[axis + 1 :]) for axis in range(len(full))]
    true = sum(
        (offsets(window)[..., axis] + full[axis] - 1) * stride
        for axis, stride in enumerate(strides)
    )
    assert torch.equal(relative_index(window, full), torch.as_tensor(true))
    only_first_shorter = window[1:] == full[1:]
    assert torch.equal(sliced_index(window, full), torch.as_tensor(true)) == only_first_shorter


def test_coordinates_span_eight_in_logarithms() -> None:
    found = log_coordinates((8, 8), (8, 8)).view(15, 15, 2)
    assert found.dtype == torch.float32
    assert found[0, 0].tolist() == pytest.approx([-math.log2(9) / 3] * 2)
    assert found[7, 7].tolist() == [0, 0]
    assert found[8, 6].tolist() == pytest.approx(
        [math.log2(1 + 8 / 7) / 3, -math.log2(1 + 8 / 7) / 3]
    )
    assert torch.equal(found, -found.flip(0, 1))


def test_a_larger_window_keeps_the_coordinates_of_its_pre_training() -> None:
    grown, before = log_coordinates((16,), (8,)), log_coordinates((8,), (8,))
    assert torch.equal(grown[8:-8], before)
    assert grown.max() > before.max()


@given(WINDOWS)
def test_a_window_of_one_token_has_coordinate_zero(window: tuple[int, ...]) -> None:
    found = log_coordinates((1, *window), (1, *window))
    assert found.isfinite().all()
    assert not found[:, 0].any()


@given(WINDOWS)
def test_one_row_a_offset_in_the_order_of_the_index(window: tuple[int, ...]) -> None:
    """The row of a pair holds the coordinates of the pair's own offset."""
    rows = log_coordinates(window, window)[relative_index(window)]
    near = offsets(window) / torch.tensor([max(1, m - 1) for m in window]) * 8
    torch.testing.assert_close(rows, near.sign() * torch.log2(1 + near.abs()) / 3)
