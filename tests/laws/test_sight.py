"""``Pattern.seen``, the closed form that follows sets of tokens, equals the groups written down."""

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vitrail.patterns import (
    Axial,
    Focal,
    Global,
    Grid,
    Groups,
    Nearest,
    Pattern,
    Pooled,
    Reduced,
    SparseFixed,
    SparseStrided,
    Window,
)
from vitrail.patterns.base import seen_by
from vitrail.patterns.sets import TokenSet, joined
from vitrail.shapes import Size

PATTERNS: list[Any] = [
    Window((3, 2), (1, 1)),
    Window((3, 4), (0, 2), shift_rule="clamp"),
    Window((2, 3, 2), (1, 1, 0)),
    Focal((4, 2), (1, 1), ((3, 1), (1, 3))),
    Focal((4, 4), (2, 1), ((3, 3),), halo="rolled", padding="visible"),
    Focal((3, 3), (1, 1), ((3, 3),), halo="rolled"),
    Nearest((3,), 4),
    Nearest((3, 2), 5),
    Nearest((2, 1), 12),
    Nearest((1, 1), 1),
    Nearest((2, 2, 2), 6),
    Grid((3, 4)),
    Axial(0),
    Axial(1),
    SparseFixed(),
    SparseFixed(5),
    SparseStrided(4),
    SparseStrided(None, "residue"),
    Global(),
    Reduced((3, 2)),
    Pooled((3, 4)),
]


def axes_of(pattern: Any) -> int:
    lengths = getattr(pattern, "window", None) or getattr(pattern, "size", (1, 1))
    return len(lengths)


@pytest.mark.parametrize("pattern", PATTERNS, ids=repr)
@settings(max_examples=20)
@given(data=st.data())
def test_what_a_set_sees_is_what_its_groups_hold(pattern: Pattern, data: st.DataObject) -> None:
    axes = axes_of(pattern)
    longest = {1: 40, 2: 19, 3: 6}[axes]
    spatial = tuple(data.draw(st.integers(1, longest)) for _ in range(axes))
    share, seed = data.draw(st.sampled_from((0.0, 0.5, 0.97, 1.0))), data.draw(st.integers(0, 99))
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.rand(spatial, generator=generator) < share
    tokens.view(-1)[seed % tokens.numel()] = True
    found = tokens.clone()  # what a set holds already need not be named again
    for one in pattern.seen(spatial, TokenSet.of((0,) * axes, tokens)):
        found |= one.dense(spatial)
    groups = seen_by(pattern.groups_with_boxes(spatial), tokens.flatten(), spatial).view(spatial)
    assert torch.equal(found, groups | tokens)


def drawn_tiles(data: st.DataObject, lengths: Size) -> Tensor:
    """Draw a mask of some tiles, as windows lead to."""
    edges = [sorted({0, n, *data.draw(st.lists(st.integers(0, n), max_size=4))}) for n in lengths]
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    mask = torch.rand([len(line) - 1 for line in edges], generator=generator) < 0.6
    mask.view(-1)[data.draw(st.integers(0, mask.numel() - 1))] = True
    for axis, line in enumerate(edges):
        mask = mask.repeat_interleave(torch.tensor(line).diff(), axis)
    return mask


@pytest.mark.parametrize("pattern", PATTERNS, ids=repr)
@settings(max_examples=20)
@given(data=st.data())
def test_what_tiles_see_is_what_their_tokens_see(pattern: Pattern, data: st.DataObject) -> None:
    axes = axes_of(pattern)
    spatial = tuple(data.draw(st.integers(1, {1: 40, 2: 19, 3: 6}[axes])) for _ in range(axes))
    tokens = drawn_tiles(data, spatial)
    found = tokens.clone()
    for one in pattern.seen(spatial, TokenSet.of((0,) * axes, tokens)):
        found |= one.dense(spatial)
    groups = seen_by(pattern.groups_with_boxes(spatial), tokens.flatten(), spatial).view(spatial)
    assert torch.equal(found, groups | tokens)


@settings(max_examples=100)
@given(data=st.data())
def test_sets_of_tiles_are_sets_of_tokens(data: st.DataObject) -> None:
    spatial = tuple(data.draw(st.integers(1, 12)) for _ in range(data.draw(st.integers(1, 3))))
    a, b = drawn_tiles(data, spatial), drawn_tiles(data, spatial)
    one, other = (TokenSet.of((0,) * len(spatial), mask) for mask in (a, b))
    assert torch.equal(one.dense(spatial), a)
    missing = one.missing((0,) * len(spatial), spatial)
    assert torch.equal(~a, missing.dense(spatial) if missing else torch.zeros_like(a))
    united = torch.zeros_like(a)
    for part in joined([one, other]):
        united |= part.dense(spatial)
    assert torch.equal(united, a | b)
    # Any relation: partners in order and out of it, apart from one another, and none at all.
    spans, partners = [], a
    for axis, n in enumerate(spatial):
        low = torch.tensor(data.draw(st.lists(st.integers(0, 9), min_size=n, max_size=n)))
        size = torch.tensor(data.draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)))
        line = torch.stack((low, low + size), dim=-1)
        line = line.sort(0).values if data.draw(st.booleans()) else line
        spans.append(line)
        met = torch.stack([(torch.arange(14) >= x) & (torch.arange(14) < y) for x, y in line])
        partners = (partners.movedim(axis, -1).float() @ met.float()).movedim(-1, axis) > 0
    found = one.spread(spans)
    again = one.spread([line[a:b] for line, a, b in zip(spans, one.first, one.stop, strict=True)],
                       of_box=True)  # fmt: skip
    assert (found is None) == (again is None)
    assert not found or not again or torch.equal(found.box, again.box)
    far = (14,) * len(spatial)
    assert torch.equal(partners, found.dense(far) if found else torch.zeros_like(partners))


def test_tiles_are_as_few_as_their_lines() -> None:
    mask = torch.zeros(20, 30, dtype=torch.bool)
    mask[3:8, 4:20] = mask[8:15, 10:12] = True
    found = TokenSet.of((5, 5), mask)
    assert (found.first, found.lengths) == ((8, 9), (12, 16))
    assert found.mask is not None and found.mask.tolist() == [[True] * 3, [False, True, False]]
    assert [line.tolist() for line in found.edges] == [[8, 13, 20], [9, 15, 17, 25]]
    assert TokenSet.of((0, 0), mask[3:8]).mask is None


@dataclass(frozen=True)
class Mirror(Pattern):
    """Tokens see the token at the other end of the list: a user's pattern, with groups alone."""

    def groups(self, spatial: Size, device: torch.device | None = None) -> Groups:
        index = torch.arange(math.prod(spatial), dtype=torch.int32, device=device)[:, None]
        return Groups(index, index.flip(0))

    def pairs(self, spatial: Size) -> int:
        return math.prod(spatial)

    def scores(self, spatial: Size) -> int:
        return math.prod(spatial)


def test_a_pattern_without_a_closed_form_is_followed_by_its_groups() -> None:
    (found,) = Mirror().seen((3, 4), TokenSet((0, 1), (1, 2)))
    assert found.first == (2, 1)
    assert found.lengths == (1, 2)


def test_sets_join_where_their_boxes_meet_and_stay_apart_where_far() -> None:
    near, far = TokenSet((0, 0), (2, 2)), TokenSet((900, 900), (2, 2))
    assert joined([near, far, None]) == [near, far]
    (one,) = joined([near, TokenSet((1, 1), (2, 2))])
    assert one.lengths == (3, 3)
    assert one.box.sum() == 7
