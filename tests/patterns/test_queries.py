"""Cells of tokens attend in their tokens' stead."""

import pytest

from tests.support import refuses
from vitrail.patterns import Global, PooledQueries, Window
from vitrail.shapes import Size


def test_windows_by_hand() -> None:
    """Five tokens in windows of four: the second has one token, which is a cell of its own."""
    groups = PooledQueries(Window((4,), (0,)), (2,)).groups((5,))
    assert groups.q_grid == (3,)
    assert groups.q_index.tolist() == [[0, 1], [2, -1]]
    assert groups.k_index.tolist() == [[0, 1, 2, 3], [4, -1, -1, -1]]
    assert groups.k_region is not None
    assert groups.k_region.tolist() == [[0, 0, 0, 0], [0, -1, -1, -1]]


def test_all_tokens_by_hand() -> None:
    groups = PooledQueries(Global(), (2, 2)).groups((3, 4))
    assert groups.q_grid == (2, 2)
    assert groups.q_index.tolist() == [list(range(4))]
    assert groups.k_index.tolist() == [list(range(12))]
    assert groups.all_keys and groups.full


def test_closed_forms_at_a_published_size() -> None:
    pattern = PooledQueries(Window((8, 8), (0, 0)), (2, 2))
    assert pattern.pairs((56, 56)) == pattern.scores((56, 56)) == 49 * 16 * 64
    assert pattern.pairs((9, 8)) == (4 * 8 + 1) * 4 * 8
    assert PooledQueries(Global(), (2, 2)).scores((14, 15)) == 7 * 8 * 14 * 15


@pytest.mark.parametrize(
    ("window", "shift", "rule", "stride", "given", "fix"),
    [
        ((4, 4), (2, 2), "axis", (2, 2), "shift=(2, 2)", "Window((4, 4), (0, 0))"),
        ((4, 4), (0, 0), "clamp", (2, 2), "shift_rule='clamp'", "Window((4, 4), (0, 0))"),
        ((6, 4), (0, 0), "axis", (4, 2), "stride=(4, 2) in windows of (6, 4)", "stride=(2, 2)"),
        ((4, 4), (0, 0), "axis", (2,), "stride=(2,)", "stride=(2, 2)"),
        ((4, 4), (0, 0), "axis", (0, 2), "stride=(0, 2)", "stride="),
    ],
)
def test_what_cannot_be_is_refused(
    window: Size, shift: Size, rule: str, stride: Size, given: str, fix: str
) -> None:
    with refuses(given, fix):
        PooledQueries(Window(window, shift, shift_rule=rule), stride)  # type: ignore[arg-type]


def test_visible_padding_and_prefix_tokens_are_refused() -> None:
    with refuses("padding='visible'", "Window((4,), (0,))"):
        PooledQueries(Window((4,), (0,), "visible"), (2,))
    with refuses("prefix=1", "Global()"):
        PooledQueries(Global(1), (2,))


@pytest.mark.parametrize("method", ["groups", "pairs", "scores", "allowed", "cells"])
def test_a_grid_of_another_rank_is_refused(method: str) -> None:
    with refuses("a grid of (4, 5) tokens for stride=(2,)", "stride=(2, 2)"):
        getattr(PooledQueries(Window((4,), (0,)), (2,)), method)((4, 5))
