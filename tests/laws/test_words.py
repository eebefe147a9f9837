"""Every pattern lets those meet whom the words of its mechanism name, in any rank, at any size."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.laws import words
from tests.laws.test_patterns import KINDS, Laid, laid
from tests.patterns.test_focal import focal_cases, nearest_cases
from tests.support import cases
from vitrail import patterns
from vitrail.patterns import (
    Focal,
    Grid,
    Nearest,
    Pattern,
    PooledQueries,
    Reduced,
    SparseFixed,
    Window,
)

DRAWS: dict[type, Callable[[], st.SearchStrategy[Laid]]] = {
    Window: lambda: cases().map(
        lambda c: Laid(
            Window,
            {"size": c.size, "shift": c.shift, "padding": c.padding, "shift_rule": c.rule},
            c.spatial,
        )
    ),
    Focal: lambda: focal_cases().map(lambda case: Laid(Focal, case[0], case[1])),
    Nearest: lambda: nearest_cases().map(
        lambda c: Laid(Nearest, {"window": c[0], "count": c[1]}, c[2])
    ),
    **{kind: (lambda kind=kind: laid((kind,))) for kind in KINDS},
}


@pytest.mark.parametrize("kind", DRAWS, ids=lambda kind: kind.__name__)
@settings(max_examples=30)
@given(data=st.data())
def test_allowed_is_what_the_words_say(kind: type, data: st.DataObject) -> None:
    case = data.draw(DRAWS[kind]())
    expected = words.allowed(case.pattern, case.spatial)
    assert case.pattern.allowed(case.spatial).tolist() == expected.tolist()


def test_no_pattern_is_without_words() -> None:
    """Nor without a draw above."""
    kinds = {kind for name in patterns.__all__ if _concrete(kind := getattr(patterns, name))}
    assert kinds == set(words.WORDS) == set(DRAWS)


def _concrete(kind: Any) -> bool:
    return (
        isinstance(kind, type) and issubclass(kind, patterns.Pattern) and kind != patterns.Pattern
    )


@pytest.mark.parametrize("kind", DRAWS, ids=lambda kind: kind.__name__)
@settings(max_examples=30)
@given(data=st.data())
def test_what_is_known_without_the_numbers_holds(kind: type, data: st.DataObject) -> None:
    case = data.draw(DRAWS[kind]())
    tokens = case.pattern.prefix + math.prod(case.spatial)
    groups = case.pattern.groups(case.spatial)
    assert groups.q_index.dtype == groups.k_index.dtype == torch.int32
    if groups.full:
        assert not (groups.q_index < 0).any()
        assert not (groups.k_index < 0).any()
    if groups.q_region is None:
        assert groups.k_region is None
        assert case.pattern.padding == "visible" or not (groups.k_index < 0).any()
    if groups.unique_keys:
        there = groups.k_index[groups.k_index >= 0]
        assert len(there.unique()) == len(there)
    if groups.cut is not None:
        count = tokens if groups.q_grid is None else math.prod(groups.q_grid)
        x = torch.arange(count, dtype=torch.int32).view(groups.cut.shape)
        x = x.permute(*groups.cut.outer, *groups.cut.inner)
        assert torch.equal(x.flatten(), groups.q_index.flatten())
        assert math.prod(x.shape[len(groups.cut.outer) :]) == groups.q_index.shape[1]
    if groups.extent is not None:
        assert groups.q_index.shape[1] == math.prod(groups.extent)
        assert groups.q_index is groups.k_index


SYMBOLIC: list[Pattern] = [
    Window((3, 4), (1, 2)),
    Grid((3, 4)),
    SparseFixed(),
    Reduced((2, 3)),
    PooledQueries(Window((4, 6), (0, 0)), (2, 3)),
    Focal((5, 3), (2, 1), ((3, 1),), "rolled", "visible"),
    Nearest((3, 2), 9),
]


@pytest.mark.compile
@pytest.mark.parametrize("pattern", SYMBOLIC, ids=str)
def test_groups_of_symbolic_lengths(pattern: Pattern) -> None:
    """One graph serves every size that has more than one group along each axis."""
    torch._dynamo.reset()

    def numbers(x: Tensor) -> list[Tensor]:
        groups = pattern.groups(tuple(x.shape), x.device)
        return [groups.q_index, groups.k_index, *groups.labels]

    fast = torch.compile(numbers, fullgraph=True, backend="eager", dynamic=True)
    fast(torch.zeros(13, 17))
    with torch.compiler.set_stance("fail_on_recompile"):
        for spatial in ((9, 8), (30, 7), (12, 60)):
            for found, expected in zip(
                fast(torch.zeros(spatial)), numbers(torch.zeros(spatial)), strict=True
            ):
                assert torch.equal(found, expected)
