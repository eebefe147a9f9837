"""Questions to a trace are answered in places of the grid."""

import math
from dataclasses import replace

import pytest
import torch

from tests.support import refuses
from vitrail.errors import UsageError
from vitrail.explain import BlockTrace, ModelFacts, Trace
from vitrail.patterns import Global, Pattern, Pooled, Reduced, Window
from vitrail.shapes import Size


def block(pattern: Pattern, spatial: Size, heads: int = 2) -> BlockTrace:
    """A trace whose scores are random numbers: keys that are unit vectors pick them out."""
    groups = pattern.groups_with_boxes(spatial)
    queries, keys = groups.q_index.shape[1], groups.k_index.shape[1]
    count = len(groups.q_index)
    return BlockTrace(
        name="stages.0.blocks.1",
        stage=0,
        block=1,
        pattern=pattern,
        spatial=spatial,
        stride=(4,) * len(spatial),
        groups=groups,
        q=torch.randn(count, heads, queries, keys),
        k=torch.eye(keys).expand(count, heads, -1, -1),
        region=groups.labels,
    )


@pytest.mark.parametrize(
    ("shift", "spatial", "kind"),
    [((2, 2), (8, 8), "SW"), ((0, 0), (8, 8), "W"), ((2, 2), (4, 4), "W"), ((2, 2), (4, 8), "SW")],
)
def test_kind_says_what_happens_on_this_grid(shift: Size, spatial: Size, kind: str) -> None:
    assert block(Window((4, 4), shift), spatial).kind == kind


def test_attends_maps_back_through_shift_and_padding() -> None:
    """On a 5 x 6 grid shifted by (2, 1), token (4, 5) shares its window with rows 2-4 and 5-5."""
    trace = block(Window((4, 4), (2, 1)), (5, 6))
    weights = trace.attends((4, 5))
    assert weights.shape == (5, 6)
    allowed = Window((4, 4), (2, 1)).allowed((5, 6))[4 * 6 + 5].reshape(5, 6)
    assert torch.equal(weights > 0, allowed)
    assert torch.isclose(weights.sum(), torch.tensor(1.0))
    assert set(map(tuple, allowed.nonzero().tolist())) == {(y, 5) for y in (2, 3, 4)}


def test_a_row_is_of_one_head_or_the_mean() -> None:
    trace = block(Window((4,), (2,)), (10,))
    rows = torch.stack([trace.row((9,), head) for head in range(2)])
    assert torch.allclose(trace.row((9,)), rows.mean(0))
    assert not torch.allclose(rows[0], rows[1])


def test_visible_padding_is_left_out_of_the_map() -> None:
    trace = block(Window((4, 4), (0, 0), padding="visible"), (3, 3))
    assert 0 < float(trace.attends((1, 1)).sum()) < 1
    assert torch.isclose(trace.row((1, 1)).sum(), torch.tensor(1.0))


def test_a_pooled_keys_weight_is_spread_over_its_tokens() -> None:
    """On 5 x 4 tokens, cells of 2 x 2: the last row is in no cell."""
    trace = block(Reduced((2, 2)), (5, 4))
    row, weights = trace.row((4, 3)), trace.attends((4, 3))
    assert torch.allclose(weights[:2, :2], row[0] / 4)
    assert torch.allclose(weights[2:4, 2:], row[3] / 4)
    assert (weights[4] == 0).all()
    assert torch.isclose(weights.sum(), torch.tensor(1.0))


def test_where_pooled_boxes_overlap_their_parts_add_up() -> None:
    """Two cells on five tokens: 0-2 and 2-4."""
    trace = block(Pooled((2,)), (5,))
    first, second = trace.row((0,)).tolist()
    expected = [first / 3, first / 3, (first + second) / 3, second / 3, second / 3]
    assert trace.attends((0,)).tolist() == pytest.approx(expected)


def test_prefix_tokens_stand_before_the_grid() -> None:
    trace = block(Global(2), (2, 3))
    assert trace.locate(1) == (0, 1)
    assert trace.locate((0, 0)) == (0, 2)
    row = trace.row((1, 2))
    assert torch.equal(trace.attends((1, 2)).flatten(), row[2:])
    assert torch.equal(trace.row(0), trace.attention[0, :, 0].mean(0))


@pytest.mark.parametrize("number", [2, -1])
def test_a_prefix_token_that_is_not_there(number: int) -> None:
    with refuses(f"position={number}, a prefix token", "use a place, e.g. position=(0, 0)"):
        block(Global(2), (2, 3)).row(number)


def test_box_is_in_input_samples() -> None:
    assert block(Window((4, 4), (2, 2)), (8, 8)).box((0, 7)) == ((0, 4), (28, 32))


@pytest.mark.parametrize("position", [(8, 0), (-1, 0), (1,), (1, 1, 1)])
def test_a_token_that_is_not_there(position: Size) -> None:
    trace = block(Window((4, 4), (2, 2)), (8, 8))
    for look_up in (trace.locate, trace.row, trace.attends, trace.box):
        with pytest.raises(UsageError, match=r"use a position up to \(7, 7\)") as error:
            look_up(position)
        assert f"position={position}" in str(error.value)


@pytest.mark.parametrize(("head", "fix"), [(2, "use head=1"), (-1, "use head=0")])
def test_a_head_that_is_not_there(head: int, fix: str) -> None:
    with pytest.raises(UsageError, match=fix) as error:
        block(Window((4, 4), (2, 2)), (8, 8)).row((0, 0), head)
    assert f"head={head}" in str(error.value)


def test_the_best_classes_come_first() -> None:
    facts = ModelFacts(
        name="m", weights="w", trained=False, sha256="", parameters=1, patch=(4, 4), overlap=(0, 0)
    )  # fmt: skip
    trace = Trace(
        model=facts, spatial=(8, 8), blocks=(), merges=(), logits=torch.tensor([0.0, 2.0, 1.0])
    )
    assert [label for label, _ in trace.top()] == ["class 1", "class 2", "class 0"]
    named = Trace(
        model=facts, spatial=(8, 8), blocks=(), merges=(),
        logits=torch.tensor([0.0, 2.0, 1.0]), classes=("a", "b", "c"),
    )  # fmt: skip
    ((label, probability),) = named.top(1)
    assert label == "b"
    assert probability == pytest.approx(0.6652, abs=1e-4)


@pytest.mark.parametrize("own", [False, True], ids=["one bias", "a bias for each group"])
def test_what_is_requested_equals_the_whole(own: bool) -> None:
    pattern, spatial = Window((3, 4), (1, 2)), (7, 9)
    plain = block(pattern, spatial)
    groups, heads, queries, keys = plain.shape
    trace = replace(plain, bias=torch.randn(*((groups,) if own else ()), heads, queries, keys))
    whole = trace.attention
    assert whole.shape == trace.shape == (9, 2, 12, 12)
    q_region, k_region = trace.groups.labels
    seen = q_region[:, :, None] == k_region[:, None, :]
    assert trace.bias is not None
    scores = (trace.q + trace.bias).masked_fill(~seen[:, None], -torch.inf)
    torch.testing.assert_close(whole, scores.softmax(-1))
    for group in range(groups):
        torch.testing.assert_close(trace.rows(group), whole[group])
        torch.testing.assert_close(trace.rows(group, 5, 2), whole[group, :, 5:7])
    torch.testing.assert_close(trace.rows(4, 10), whole[4, :, 10:])


@pytest.mark.parametrize("most", [1, 50, 24 * 12, 3 * 24 * 12, 10**6])
def test_chunks_cover_everything_once_and_stay_small(most: int) -> None:
    trace = block(Window((3, 4), (1, 2)), (7, 9))
    found = torch.full(trace.shape, torch.nan)
    for some, queries, weights in trace.chunks(most):
        assert weights.numel() <= max(most, 2 * 12)
        assert found[some, :, queries].isnan().all()
        found[some, :, queries] = weights
    torch.testing.assert_close(found, trace.attention)


@pytest.mark.parametrize("rows_wanted", [(9, 0, 1), (-1, 0, 1), (0, 12, 1), (0, -1, 1), (0, 0, 13)])
def test_rows_that_are_not_there(rows_wanted: tuple[int, int, int]) -> None:
    group, first, count = rows_wanted
    given = f"group={group}, first={first}, count={count} of stages.0.blocks.1"
    with refuses(given, f"use group={min(max(group, 0), 8)}, first=0, count=12"):
        block(Window((3, 4), (1, 2)), (7, 9)).rows(group, first, count)


def test_a_sample_is_a_smaller_block_with_the_same_weights() -> None:
    whole = block(Window((3, 4), (1, 2)), (7, 9))
    assert whole.sample() is whole
    for most in (4 * 2 * 144, 100, 1):
        some = whole.sample(most)
        assert math.prod(some.shape) <= max(most, 2 * 12)
        assert some.groups.q_index.shape == (some.shape[0], some.shape[2])
        for group, row in enumerate(some.groups.k_index):
            number = next(i for i, k in enumerate(whole.groups.k_index) if torch.equal(k, row))
            for query, token in enumerate(some.groups.q_index[group]):
                places = (whole.groups.q_index[number] == token).nonzero()
                if token >= 0:
                    expected = whole.attention[number, :, places[0, 0]]
                    torch.testing.assert_close(some.attention[group, :, query], expected)
