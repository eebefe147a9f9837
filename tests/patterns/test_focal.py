"""Which tokens attend to which in focal attention: the window, its halo, and pooled grids."""

import math
from collections import Counter
from itertools import product

import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support import refuses
from vitrail.patterns import Focal, Nearest
from vitrail.patterns.focal import Halo
from vitrail.shapes import Size

OFFICIAL = Focal((7, 7), (3, 3), ((7, 7),), "rolled", "visible")


@st.composite
def focal_cases(
    draw: st.DrawFn, halo: tuple[Halo, ...] = ("exact", "rolled"), levels: int = 2
) -> tuple[dict[str, object], Size]:
    """Draw the fields of a pattern, and a grid smaller or larger than its window."""
    axes = draw(st.integers(1, 3))
    longest, widest = {1: (14, 5), 2: (8, 4), 3: (5, 3)}[axes]
    rule, count = draw(st.sampled_from(halo)), draw(st.integers(0, levels))
    window = tuple(draw(st.integers(1, widest)) for _ in range(axes))
    if count == 2:
        window = tuple(2 * m if rule == "exact" else max(2, m) for m in window)
    most = [m // 2 if rule == "rolled" else 4 for m in window]
    odd = st.sampled_from([1, 3, 5])
    fields = {
        "window": window,
        "margin": tuple(draw(st.integers(0, e)) for e in most),
        "levels": tuple(tuple(draw(odd) for _ in range(axes)) for _ in range(count)),
        "halo": rule,
        "padding": draw(st.sampled_from(("masked", "visible"))),
    }
    return fields, tuple(draw(st.integers(1, longest)) for _ in range(axes))


def focal(fields: dict[str, object]) -> Focal:
    return Focal(**fields)  # type: ignore[arg-type]


def places(spatial: Size) -> torch.Tensor:
    return torch.tensor(list(product(*(range(n) for n in spatial)))).view(-1, len(spatial))


@given(focal_cases())
def test_pairs_and_scores_equal_what_the_groups_say(case: tuple[dict[str, object], Size]) -> None:
    pattern, spatial = focal(case[0]), case[1]
    groups = pattern.groups(spatial)
    assert pattern.pairs(spatial) == pattern.allowed(spatial).sum()
    assert groups.k_index.shape[1] == pattern.num_keys
    assert pattern.scores(spatial) == groups.q_index.numel() * pattern.num_keys
    tokens = groups.q_index[groups.q_index >= 0]
    assert sorted(tokens.tolist()) == list(range(math.prod(spatial)))
    q_region, k_region = groups.labels
    seen = q_region[..., :, None] == k_region[..., None, :]
    assert seen.any(dim=-1).all()


@given(focal_cases(halo=("exact",)))
def test_exact_has_each_key_once(case: tuple[dict[str, object], Size]) -> None:
    for keys in focal(case[0]).groups(case[1]).k_index.tolist():
        assert max(Counter(key for key in keys if key >= 0).values()) == 1


def test_the_official_code_s_keys() -> None:
    """230 keys: 49, 132 of which 12 are there twice, and 49 pooled."""
    assert OFFICIAL.num_keys == 230
    assert OFFICIAL.halo_keys == 132
    keys = OFFICIAL.groups((56, 56)).k_index[27].tolist()  # a window inside
    assert sorted(Counter(Counter(keys[:181]).values()).items()) == [(1, 157), (2, 12)]
    assert Focal((7, 7), (3, 3), ((7, 7),)).num_keys == 49 + 120 + 49
    inside = Focal((7, 7), (3, 3)).groups((56, 56)).k_index[27]
    assert set(inside.tolist()) == set(keys[:181])


def test_rolls_wrap_at_the_border_and_the_exact_halo_does_not() -> None:
    rolled, exact = Focal((4,), (2,), halo="rolled"), Focal((4,), (2,))
    assert rolled.allowed((12,))[0].nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 5, 10, 11]
    assert exact.allowed((12,))[0].nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 5]
    # The first corner is what lies towards the end of the axis.
    assert rolled.groups((12,)).k_index[1].tolist() == [4, 5, 6, 7, 8, 9, 2, 3]
    assert exact.groups((12,)).k_index[1].tolist() == [4, 5, 6, 7, 2, 3, 8, 9]


def test_one_window_has_no_rolled_halo() -> None:
    """As the official code expands no window that covers the shortest axis."""
    assert OFFICIAL.pairs((7, 14)) == 98 * 49 + 98 * 2
    assert not (OFFICIAL.groups((7, 14)).labels[1][:, 49:181] == 0).any()


@given(focal_cases())
def test_boxes_are_the_tokens_of_a_key(case: tuple[dict[str, object], Size]) -> None:
    pattern, spatial = focal(case[0]), case[1]
    groups = pattern.groups_with_boxes(spatial)
    if not pattern.levels:
        assert groups.k_box is None
        return
    assert groups.k_box is not None
    low, high = groups.k_box[..., 0::2], groups.k_box[..., 1::2]
    there = groups.k_index >= 0
    assert (groups.k_box[~there] == -1).all()
    assert (low[there] >= 0).all()
    assert (high[there] > low[there]).all()
    assert (high[there] <= torch.tensor(spatial)).all()
    tokens = there & (groups.k_index < math.prod(spatial))
    assert torch.equal(low[tokens], places(spatial)[groups.k_index[tokens]])
    assert torch.equal(high[tokens], low[tokens] + 1)


def test_cells_by_hand() -> None:
    """Level 0 pools whole windows; level 1 of the official code rounds down, and centres."""
    groups = Focal((4,), (0,), ((1,), (1,))).groups_with_boxes((10,))
    assert groups.grids == ((3,), (6,))
    assert groups.k_box is not None
    assert groups.k_box[1, 4:].tolist() == [[4, 8], [4, 6], [6, 8]]
    assert groups.k_box[2, 4:].tolist() == [[8, 10], [8, 10], [-1, -1]]
    rolled = Focal((5,), (0,), ((1,), (1,)), "rolled").groups_with_boxes((10,))
    assert rolled.k_box is not None
    assert rolled.k_box[0, 6:].tolist() == [[1, 3], [3, 5]]


def test_what_a_field_may_be() -> None:
    with refuses("margin=(3, 3)", "margin=(2, 2)"):
        Focal((5, 5), (3, 3), halo="rolled")
    with refuses("levels[0]=(4, 7)", "levels[0]=(5, 7)"):
        Focal((7, 7), (3, 3), ((4, 7),))
    with refuses("2 levels for window=(7, 7)", "window=(8, 8), or 1 levels"):
        Focal((7, 7), (3, 3), ((3, 3), (3, 3)))
    with refuses("2 levels for window=(1,)", "window=(2,)"):
        Focal((1,), (0,), ((3,), (3,)), "rolled")
    with refuses("halo='round'", "halo='exact'"):
        Focal((7, 7), (3, 3), halo="round")  # type: ignore[arg-type]
    with refuses("padding='seen'", "padding='masked'"):
        Focal((7, 7), (3, 3), padding="seen")  # type: ignore[arg-type]
    with refuses("margin=(-1, 0)", "margin=(0, 0)"):
        Focal((7, 7), (-1, 0))
    with refuses("a grid of (5,) tokens", "window=(7,)"):
        Focal((7, 7), (3, 3)).pairs((5,))
    with refuses("count=0", "count=1"):
        Nearest((7, 7), 0)
    with refuses("a grid of (5,) tokens", "window=(7,)"):
        Nearest((7, 7), 4).pairs((5,))


@st.composite
def nearest_cases(draw: st.DrawFn) -> tuple[Size, int, Size]:
    """Draw the window and the count of a pattern, and a grid."""
    axes = draw(st.integers(1, 3))
    longest, widest = {1: (14, 5), 2: (8, 4), 3: (5, 3)}[axes]
    window = tuple(draw(st.integers(1, widest)) for _ in range(axes))
    count = draw(st.integers(1, 30))
    return window, count, tuple(draw(st.integers(1, longest)) for _ in range(axes))


@given(nearest_cases())
def test_counts_of_the_nearest_equal_what_the_groups_say(case: tuple[Size, int, Size]) -> None:
    window, count, spatial = case
    pattern = Nearest(window, count)
    groups = pattern.groups(spatial)
    assert pattern.pairs(spatial) == pattern.allowed(spatial).sum()
    assert pattern.scores(spatial) == groups.q_index.numel() * groups.k_index.shape[1]
    assert groups.k_index.shape[1] == pattern.num_keys(spatial)


def test_ties_go_to_the_first() -> None:
    assert Nearest((1,), 2).groups((5,)).k_index[2].tolist() == [2, 1, 7, 6]
    assert Nearest((1, 1), 3).groups((3, 3)).k_index[4].tolist() == [4, 1, 3, 13, 10, 12]


def test_the_boxes_of_the_nearest() -> None:
    box = Nearest((2, 3), 4).groups_with_boxes((4, 5)).k_box
    assert box is not None
    assert box[3, :4].tolist() == [[3, 4, 4, 5], [2, 3, 4, 5], [3, 4, 3, 4], [2, 3, 3, 4]]
    assert box[3, 4:].tolist() == [[2, 4, 3, 5], [0, 2, 3, 5], [2, 4, 0, 3], [0, 2, 0, 3]]
