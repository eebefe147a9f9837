"""``Pattern.seen``, the closed form that follows sets of tokens, equals the groups written down."""

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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
