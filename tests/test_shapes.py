"""Sizes: one whole number per axis."""

from typing import Any

import pytest
import torch

from tests.support import refuses, unchecked
from vitrail import UsageError
from vitrail.shapes import as_size, known, sym_max, sym_min


def test_a_number_means_the_same_along_every_axis() -> None:
    assert as_size(7, 3, "window") == (7, 7, 7)
    assert as_size((8, 7), 2, "window") == (8, 7)
    assert as_size([8, 7], 2, "window") == (8, 7)
    assert as_size(0, 2, "shift", minimum=0) == (0, 0)


@pytest.mark.parametrize(
    ("value", "axes", "given", "fix"),
    [
        (0, 2, "window=0", "use window=(1, 1)"),
        (-3, 1, "window=-3", "use window=(1,)"),
        ((7, 7, 7), 2, "window=(7, 7, 7) for 2 spatial axes", "use window=(7, 7)"),
        ((), 2, "window=() for 2 spatial axes", "use window=(1, 1)"),
        ((7, 0), 2, "window=(7, 0)", "use window=(7, 1)"),
        (7.5, 2, "window=7.5", "use window=(7, 7)"),
        ((7.5, 7), 2, "window=(7.5, 7)", "use window=(7, 7)"),
        (True, 1, "window=True", "use window=(1,)"),
        (None, 2, "window=None", "use window=(1, 1)"),
        ("7x7", 2, "window='7x7'", "use window=(1, 1)"),
        (float("nan"), 1, "window=nan", "use window=(1,)"),
        (("a", 7), 2, "window=('a', 7)", "use window=(1, 7)"),
    ],
)
def test_what_is_no_size_is_refused(value: Any, axes: int, given: str, fix: str) -> None:
    with refuses(given, fix):
        as_size(value, axes, "window")


def test_the_three_lines() -> None:
    with unchecked(), pytest.raises(UsageError) as caught:
        as_size(0, 2, "window")
    assert str(caught.value) == (
        "given: window=0\nallowed: whole numbers of at least 1\nfix: use window=(1, 1)"
    )
    assert isinstance(caught.value, ValueError)


def test_the_least_and_the_greatest_of_lengths() -> None:
    assert (sym_min(3), sym_min(4, 2, 3)) == (3, 2)
    assert (sym_max(3), sym_max(4, 2, 7)) == (3, 7)


@pytest.mark.compile
@pytest.mark.parametrize("dynamic", [False, True])
def test_the_least_and_the_greatest_in_one_graph(dynamic: bool) -> None:
    def clamped(x: torch.Tensor) -> torch.Tensor:
        return x.new_zeros(sym_min(x.shape[0], 4) + sym_max(x.shape[0], 6, 2) * 10)

    graph = torch.compile(clamped, backend="eager", fullgraph=True, dynamic=dynamic)
    for length in (3, 9):
        x = torch.ones(length)
        assert graph(x).shape == clamped(x).shape


def test_what_is_known_of_plain_lengths() -> None:
    assert known(7 == 7)
    assert not known(7 == 8)
