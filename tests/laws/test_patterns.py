"""What holds of every pattern, whatever it is: counts, queries and keys."""

import copy
import math
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrail.patterns import (
    Axial,
    Global,
    Grid,
    Pattern,
    Pooled,
    PooledQueries,
    Reduced,
    SparseFixed,
    SparseStrided,
    Window,
)
from vitrail.shapes import Size


class Laid(NamedTuple):
    """A pattern in its parts, and a grid to lay it on."""

    kind: Callable[..., Pattern]
    options: dict[str, Any]
    spatial: Size

    @property
    def pattern(self) -> Pattern:
        """The pattern; not made while hypothesis draws, where the shape checker would disturb."""
        made = {name: v() if callable(v) else v for name, v in self.options.items()}
        return self.kind(**made)


SYMMETRIC = (Global, Axial, Grid, SparseStrided)
POOLED = (Reduced, Pooled)
KINDS = (*SYMMETRIC, SparseFixed, *POOLED, PooledQueries)


@st.composite
def laid(draw: st.DrawFn, kinds: tuple[Callable[..., Pattern], ...] = KINDS) -> Laid:
    """Draw a pattern of one, two or three axes, and a grid with sides of 1 and of primes."""
    axes = draw(st.integers(1, 3))
    longest = {1: 23, 2: 8, 3: 5}[axes]
    spatial = tuple(draw(st.integers(1, longest)) for _ in range(axes))
    kind = draw(st.sampled_from(kinds))
    block = st.none() | st.integers(1, math.prod(spatial) + 2)
    prefix, size = st.integers(0, 2), st.tuples(*(st.integers(1, 6) for _ in spatial))
    options = {
        Global: {"prefix": prefix},
        Axial: {"axis": st.integers(0, axes - 1)},
        Grid: {"size": size},
        SparseFixed: {"block": block},
        SparseStrided: {"block": block, "part": st.sampled_from(("local", "residue"))},
        Reduced: {"reduction": size, "prefix": prefix},
        Pooled: {"size": size},
        PooledQueries: {},
    }[kind]
    if kind is PooledQueries:
        stride, times = (tuple(draw(st.integers(1, 3)) for _ in spatial) for _ in range(2))
        window = tuple(s * t for s, t in zip(stride, times, strict=True))
        inner = st.sampled_from((partial(Window, window, (0,) * axes), Global))
        options = {"tokens": inner, "stride": st.just(stride)}
    return Laid(kind, {name: draw(values) for name, values in options.items()}, spatial)


def every_kind(test: Callable[..., None]) -> Callable[..., None]:
    """Run a law once for each kind, so that none is missed by the draw."""
    drawn = settings(max_examples=20)(given(data=st.data())(test))
    return pytest.mark.parametrize("kind", KINDS)(drawn)


@every_kind
def test_pairs_equal_the_sum_of_allowed(kind: type[Pattern], data: st.DataObject) -> None:
    case = data.draw(laid((kind,)))
    assert case.pattern.pairs(case.spatial) == case.pattern.allowed(case.spatial).sum()


@every_kind
def test_scores_count_the_products_of_the_groups(kind: type[Pattern], data: st.DataObject) -> None:
    case = data.draw(laid((kind,)))
    groups = case.pattern.groups(case.spatial)
    count, queries = groups.q_index.shape
    assert case.pattern.scores(case.spatial) == count * queries * groups.k_index.shape[1]
    assert case.pattern.scores(case.spatial) >= case.pattern.pairs(case.spatial)


@every_kind
def test_every_token_is_a_query_once_and_gets_an_output(
    kind: type[Pattern], data: st.DataObject
) -> None:
    case = data.draw(laid((kind,)))
    pattern = case.pattern
    groups, allowed = pattern.groups(case.spatial), pattern.allowed(case.spatial)
    tokens = pattern.prefix + math.prod(groups.q_grid or case.spatial)
    real = groups.q_index[groups.q_index >= 0]
    assert sorted(real.tolist()) == list(range(tokens))
    assert len(allowed) == tokens
    assert allowed.any(dim=1).all()
    # A row without a key, padding's too, would be a softmax over nothing: not a number.
    q_region, k_region = groups.labels
    seen = q_region[..., :, None] == k_region[..., None, :]
    assert seen.any(dim=-1).all()


@every_kind
def test_a_query_meets_a_key_once_and_never_padding(
    kind: type[Pattern], data: st.DataObject
) -> None:
    case = data.draw(laid((kind,)))
    groups = case.pattern.groups(case.spatial)
    keys = case.pattern.allowed(case.spatial).shape[1]
    assert groups.k_index.max() < keys
    for g, (real, seen) in enumerate(zip(groups.q_index, groups.k_index, strict=True)):
        for q, token in enumerate(real.tolist()):
            met = seen[groups.labels[1][g] == groups.labels[0][g, q]].tolist()
            if token >= 0:
                assert -1 not in met
                assert len(met) == len(set(met))


@every_kind
def test_padding_is_a_region_of_its_own(kind: type[Pattern], data: st.DataObject) -> None:
    case = data.draw(laid((kind,)))
    groups = case.pattern.groups(case.spatial)
    assert torch.equal(groups.q_index == -1, groups.labels[0] == -1)
    assert torch.equal(groups.k_index == -1, groups.labels[1] == -1)


@given(laid(SYMMETRIC))
def test_who_sees_is_seen(case: Laid) -> None:
    allowed = case.pattern.allowed(case.spatial)
    assert allowed.diagonal().all()
    assert torch.equal(allowed, allowed.T)


@given(laid(POOLED))
def test_pooled_keys_follow_the_tokens_and_have_a_box(case: Laid) -> None:
    pattern, spatial = case.pattern, case.spatial
    groups, tokens = pattern.groups_with_boxes(spatial), pattern.prefix + math.prod(spatial)
    (grid,) = groups.grids
    cells = list(range(tokens, tokens + math.prod(grid)))
    assert groups.k_index.tolist() == [[*range(pattern.prefix), *cells]]
    assert groups.k_box is not None
    box = groups.k_box[0]
    assert (box[: pattern.prefix] == -1).all()
    lo, hi = box[pattern.prefix :, 0::2], box[pattern.prefix :, 1::2]
    assert (lo >= 0).all()
    assert (lo < hi).all()
    assert (hi <= torch.tensor(spatial)).all()


@given(laid((Global, Axial, Grid, SparseFixed, SparseStrided)))
def test_keys_that_are_tokens_have_no_box(case: Laid) -> None:
    groups = case.pattern.groups(case.spatial)
    assert groups.grids == ()
    assert groups.k_box is None


@every_kind
def test_a_pattern_is_a_value(kind: type[Pattern], data: st.DataObject) -> None:
    case = data.draw(laid((kind,)))
    pattern = case.pattern
    assert hash(pattern) == hash(case.pattern)
    assert pickle.loads(pickle.dumps(pattern)) == copy.deepcopy(pattern) == pattern
    for field in fields(pattern):  # type: ignore[arg-type]  # every kind is a dataclass
        with pytest.raises((FrozenInstanceError, AttributeError)):
            setattr(pattern, field.name, 1)


@pytest.mark.parametrize(
    ("steps", "spatial", "gaps"),
    [
        (lambda: [Global()], (5, 7), 0),
        (lambda: [Axial(0), Axial(1)], (5, 7), 0),
        (lambda: [Axial(2), Axial(0), Axial(1)], (3, 2, 4), 0),
        (lambda: [Window((3, 3), (0, 0)), Grid((2, 3))], (6, 9), 0),
        (lambda: [SparseFixed(6), SparseFixed(6)], (5, 7), 0),
        (lambda: [SparseStrided(7), SparseStrided(7, "residue")], (5, 7), 0),
        # The last block of 35 = 5 * 6 + 5 lacks a sixth token, through which it would be linked.
        (lambda: [SparseStrided(6), SparseStrided(6, "residue")], (5, 7), 5 * 5),
    ],
)
def test_the_steps_of_a_pattern_reach_everyone(
    steps: Callable[[], list[Pattern]], spatial: Size, gaps: int
) -> None:
    """Blocks alternate them: how many pairs have not met after the last."""
    reach = torch.eye(math.prod(spatial))
    for step in steps():
        reach = step.allowed(spatial).float() @ reach
    assert (reach == 0).sum() == gaps
