"""Common claims, and the numbers that they come down to."""

from unittest import mock

import pytest
from torch import Tensor

from vitrail.bench.claims import (
    drift,
    focal_granularity,
    padding_waste,
    qkv_reshape,
    window_saving,
)
from vitrail.layers import FocalAttention


def test_windows_save_by_the_map_not_by_their_own_area() -> None:
    assert window_saving((56, 56), (7, 7)) == 64
    assert window_saving((49, 49), (7, 7)) == 49
    assert window_saving((7, 7), (7, 7)) == 1


def test_focal_attention_has_no_granularity_by_content() -> None:
    facts = focal_granularity()
    assert facts.support_changes == 0
    assert facts.pooling_changes == 0
    assert facts.output_changes > 0.1


def test_a_granularity_by_content_would_be_found() -> None:
    pool_cells = FocalAttention.pool_cells

    def by_content(layer: FocalAttention, x: Tensor) -> Tensor | None:
        cells = pool_cells(layer, x * x)
        return None if cells is None else cells * (cells > 0)

    with mock.patch.object(FocalAttention, "pool_cells", by_content):
        facts = focal_granularity()
    assert facts.support_changes > 0 and facts.pooling_changes > 0


def test_a_forgotten_permutation_attends_over_heads() -> None:
    right, wrong = qkv_reshape(permute=True), qkv_reshape(permute=False)
    assert (right.scores, right.influences) == ((6, 6), 6)
    assert (wrong.scores, wrong.influences) == ((2, 2), 1)


def test_as_many_heads_as_tokens_hide_the_forgotten_permutation() -> None:
    wrong = qkv_reshape(permute=False, tokens=4, heads=4)
    assert wrong.scores == (4, 4) and wrong.influences == 1


def test_a_shift_that_is_never_undone_adds_up() -> None:
    assert drift(56, 3, 1) == 0
    assert drift(56, 3, 2) == 3
    assert drift(56, 3, 12) == 18
    assert drift(7, 3, 4) == 1  # once round: 6 of 7 tokens to one side


def test_padding_waste() -> None:
    assert padding_waste((224, 224), (4, 4), (7, 7)) == 0
    assert padding_waste((225, 224), (32, 32), (7, 7)) == pytest.approx(1 - 8 / 14)
    assert padding_waste((28,), (4,), (4,)) == pytest.approx(1 / 8)
