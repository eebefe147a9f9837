"""Which tokens attend to which: the pattern's groups, its oracle and its counts."""

import copy
import math
import pickle
from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support import Case, cases, refuses
from vitrail.ops.windows import pad, padded_lengths, partition, shift
from vitrail.patterns import Window


@given(cases())
def test_pairs_equal_the_sum_of_allowed(case: Case) -> None:
    assert case.pattern.pairs(case.spatial) == case.pattern.allowed(case.spatial).sum()


@given(cases())
def test_scores_count_the_products_of_the_groups(case: Case) -> None:
    groups = case.pattern.groups(case.spatial)
    queries, keys = groups.q_index.shape[1], groups.k_index.shape[1]
    assert case.pattern.scores(case.spatial) == len(groups.q_index) * queries * keys
    assert case.pattern.scores(case.spatial) >= case.pattern.pairs(case.spatial)


@given(cases())
def test_every_token_is_a_query_once_and_sees_itself(case: Case) -> None:
    groups = case.pattern.groups(case.spatial)
    tokens = groups.q_index[groups.q_index >= 0]
    assert sorted(tokens.tolist()) == list(range(math.prod(case.spatial)))
    allowed = case.pattern.allowed(case.spatial)
    assert allowed.diagonal().all()
    assert torch.equal(allowed, allowed.T)


@given(cases())
def test_groups_are_what_the_operations_cut(case: Case) -> None:
    """Pad, roll, cut into windows: the index says the same of the same places."""
    groups = case.pattern.groups(case.spatial)
    window, amount = case.pattern.fit(case.spatial)
    numbers = torch.arange(1, math.prod(case.spatial) + 1).view(1, *case.spatial, 1)
    cut = partition(shift(pad(numbers, padded_lengths(case.spatial, window)), amount), window)
    assert torch.equal(groups.q_index, cut[0, ..., 0] - 1)
    if case.padding == "masked":
        assert torch.equal(groups.labels[0] == -1, groups.q_index == -1)


@given(cases(rules=("always",)), st.booleans())
def test_regions_show_what_a_window_brought_together(case: Case, mask_padding: bool) -> None:
    """Equal labels: neither token is padding, and both come from the same side of the edge."""
    pattern = case._replace(padding="masked" if mask_padding else "visible").pattern
    labels = pattern.groups(case.spatial).labels[0]
    lengths = padded_lengths(case.spatial, case.size)
    place = torch.stack(
        torch.meshgrid(*(torch.arange(n) for n in lengths), indexing="ij"), dim=-1
    )[None]  # fmt: skip
    place = partition(shift(place, case.shift), case.size)
    wrapped = (place < torch.tensor(case.shift))[0]
    padding = (place >= torch.tensor(case.spatial)).any(-1)[0]
    together = labels[:, :, None] == labels[:, None, :]
    expected = (wrapped[:, :, None] == wrapped[:, None]).all(-1)
    if mask_padding:
        neither = ~padding[:, :, None] & ~padding[:, None]
        expected = (expected & neither) | (padding[:, :, None] & padding[:, None])
        assert torch.equal(labels == -1, padding)
    assert torch.equal(together, expected)


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
    ("rule", "spatial", "window", "shift"),
    [
        ("axis", (6, 20), (7, 7), (0, 3)),
        ("axis", (7, 8), (7, 7), (0, 3)),
        ("axis", (8, 8), (7, 7), (3, 3)),
        ("clamp", (6, 20), (6, 7), (0, 3)),
        ("clamp", (7, 7), (7, 7), (0, 0)),
        ("shortest", (6, 20), (6, 6), (0, 0)),
        ("shortest", (7, 20), (7, 7), (0, 0)),
        ("shortest", (8, 20), (7, 7), (3, 3)),
        ("always", (6, 20), (7, 7), (3, 3)),
        ("never", (8, 20), (7, 7), (0, 0)),
    ],
)
def test_what_a_short_axis_does(
    rule: str, spatial: tuple[int, int], window: tuple[int, int], shift: tuple[int, int]
) -> None:
    pattern = Window((7, 7), (3, 3), shift_rule=rule)  # type: ignore[arg-type]
    assert pattern.fit(spatial) == (window, shift)


def test_the_pairs_of_a_published_stage() -> None:
    """56 x 56 tokens, window 7: 3136 x 49 pairs; a shift of 3 cuts border windows into 3 and 4."""
    assert Window((7, 7), (0, 0)).pairs((56, 56)) == 3136 * 49
    line = 7 * 49 + 9 + 16
    assert Window((7, 7), (3, 3)).pairs((56, 56)) == line**2
    assert Window((7, 7), (3, 3)).scores((56, 56)) == 3136 * 49


@given(cases(), st.integers(0, 1))
def test_a_pattern_is_a_value(case: Case, seed: int) -> None:
    pattern = case.pattern
    assert pattern == case.pattern
    assert hash(pattern) == hash(case.pattern)
    assert pickle.loads(pickle.dumps(pattern)) == copy.deepcopy(pattern) == pattern
    with pytest.raises((FrozenInstanceError, AttributeError)):
        pattern.size = (1,)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "given", "fix"),
    [
        ({"size": (0, 7)}, "window=(0, 7)", "window=(1, 7)"),
        ({"size": (-7, 7)}, "window=(-7, 7)", "window=(1, 7)"),
        ({"size": (7.5, 7)}, "window=(7.5, 7)", "window=(7, 7)"),
        ({"shift": (-1, 3)}, "shift=(-1, 3)", "shift=(0, 3)"),
        ({"shift": (7, 3)}, "shift=(7, 3) for window=(7, 7)", "shift=(3, 3)"),
        ({"shift": (3,)}, "shift=(3,) for 2 spatial axes", "shift=(3, 3)"),
        ({"padding": "reflect"}, "padding='reflect'", "padding='masked'"),
        ({"shift_rule": "sometimes"}, "shift_rule='sometimes'", "shift_rule='axis'"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, object], given: str, fix: str) -> None:
    with refuses(given, fix):
        replace(Window((7, 7), (3, 3)), **changes)  # type: ignore[arg-type]


def test_padding_is_an_index_of_its_own() -> None:
    groups = Window((4,), (2,)).groups((5,))
    assert groups.q_index.tolist() == [[2, 3, 4, -1], [-1, -1, 0, 1]]
    assert groups.labels[0].tolist() == [[0, 0, 0, -1], [-1, -1, 1, 1]]
    visible = Window((4,), (2,), padding="visible").groups((5,))
    assert visible.q_index.tolist() == groups.q_index.tolist()
    assert visible.labels[0].tolist() == [[0, 0, 0, 0], [0, 0, 1, 1]]


def test_windows_fill_what_is_padded() -> None:
    case = Case((5, 9), (3, 4), (1, 2))
    groups = case.pattern.groups(case.spatial)
    assert groups.q_index.numel() == math.prod(padded_lengths(case.spatial, case.size))


def test_a_grid_of_other_axes() -> None:
    with refuses("a grid of (56,) tokens for window=(7, 7)", "use window=(7,)"):
        Window((7, 7), (3, 3)).pairs((56,))
