"""The window pattern: written down, counted, and refused where it makes no sense."""

import math

import pytest
import torch
from hypothesis import given

from tests.support import Case, cases, refuses
from vitrail.ops.windows import pad, padded_lengths, partition, regions, shift
from vitrail.patterns import Window


@given(cases())
def test_pairs_count_what_is_allowed(case: Case) -> None:
    assert case.pattern.pairs(case.spatial) == int(case.pattern.allowed(case.spatial).sum())


@given(cases())
def test_scores_count_all_products_of_the_groups(case: Case) -> None:
    groups = case.pattern.groups(case.spatial)
    assert case.pattern.scores(case.spatial) == groups.q_index.numel() * groups.k_index.shape[1]


@given(cases())
def test_groups_are_what_the_operations_cut(case: Case) -> None:
    groups = case.pattern.groups(case.spatial)
    window, amount = case.pattern.fit(case.spatial)
    numbers = torch.arange(1, math.prod(case.spatial) + 1).view(1, *case.spatial, 1)
    cut = partition(shift(pad(numbers, padded_lengths(case.spatial, window)), amount), window)
    assert torch.equal(groups.q_index, cut[0, ..., 0] - 1)
    masked = case.pattern.padding == "masked"
    labels = regions(case.spatial, window, amount, mask_padding=masked)
    # Labels are names: what counts is which of them are equal.
    same = labels[..., :, None] == labels[..., None, :]
    assert torch.equal(same, groups.q_region[..., :, None] == groups.k_region[..., None, :])


@given(cases())
def test_every_token_is_asked_once_and_sees_itself(case: Case) -> None:
    groups = case.pattern.groups(case.spatial)
    tokens = math.prod(case.spatial)
    real = groups.q_index[groups.q_index >= 0]
    assert torch.equal(real.sort().values, torch.arange(tokens))
    assert case.pattern.allowed(case.spatial).diagonal().all()


def test_a_regular_window_by_hand() -> None:
    allowed = Window((2,), (0,)).allowed((5,))
    expected = torch.block_diag(torch.ones(2, 2), torch.ones(2, 2), torch.ones(1, 1)).bool()
    assert torch.equal(allowed, expected)


def test_a_shifted_window_by_hand() -> None:
    # Windows of four, shifted by one: 0 | 1 2 3 4 | 5 6 7; the first came round from the left.
    allowed = Window((4,), (1,)).allowed((8,))
    expected = torch.block_diag(torch.ones(1, 1), torch.ones(4, 4), torch.ones(3, 3)).bool()
    assert torch.equal(allowed, expected)


@pytest.mark.parametrize(
    ("rule", "window", "amount"),
    [
        ("axis", (4, 4), (0, 2)),
        ("clamp", (3, 4), (0, 2)),
        ("shortest", (3, 3), (0, 0)),
        ("always", (4, 4), (2, 2)),
        ("never", (4, 4), (0, 0)),
    ],
)
def test_what_a_short_axis_does(
    rule: str, window: tuple[int, ...], amount: tuple[int, ...]
) -> None:
    pattern = Window((4, 4), (2, 2), "masked", rule)  # type: ignore[arg-type]
    assert pattern.fit((3, 9)) == (window, amount)


@pytest.mark.parametrize("rule", ["axis", "clamp", "shortest"])
def test_one_window_does_not_shift_and_one_token_more_does(rule: str) -> None:
    pattern = Window((4, 4), (2, 2), "masked", rule)  # type: ignore[arg-type]
    assert pattern.fit((4, 4)) == ((4, 4), (0, 0))
    assert pattern.fit((5, 5)) == ((4, 4), (2, 2))


@pytest.mark.parametrize(
    ("size", "amount", "given_", "fix"),
    [
        ((0, 4), (0, 0), "window=(0, 4)", "window=(1, 4)"),
        ((4, 4), (4, 0), "shift=(4, 0) for window=(4, 4)", "shift=(2, 2)"),
        ((4, 4), (-1, 0), "shift=(-1, 0)", "shift=(0, 0)"),
        ((4, 4), (1,), "shift=(1,) for 2 spatial axes", "shift=(1, 1)"),
    ],
)
def test_what_cannot_be_is_refused(
    size: tuple[int, ...], amount: tuple[int, ...], given_: str, fix: str
) -> None:
    with refuses(given_, fix):
        Window(size, amount)
