"""Tokens see their own block, and beside it each block's last token or their own residue."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from tests.support import refuses
from vitrail.patterns import SparseFixed, SparseStrided
from vitrail.shapes import Size

grids = st.one_of(
    st.tuples(st.integers(1, 30)),
    st.tuples(st.integers(1, 7), st.integers(1, 7)),
    st.tuples(*[st.integers(1, 4)] * 3),
)
blocks = st.none() | st.integers(1, 12)


@given(grids, blocks)
def test_groups_are_what_views_cut(spatial: Size, block: int | None) -> None:
    """The views that the docstrings promise to layers: pad, reshape, transpose, last tokens."""
    tokens = math.prod(spatial)
    count, length = SparseFixed(block).fit(spatial)
    cut = F.pad(torch.arange(tokens), (0, count * length - tokens), value=-1).view(count, length)
    fixed = SparseFixed(block).groups(spatial)
    assert torch.equal(fixed.q_index, cut)
    assert torch.equal(fixed.k_index[:, :length], cut)
    last = cut.max(dim=1).values
    others, own = fixed.k_index[:, length:], torch.eye(count, dtype=torch.bool)
    assert torch.equal(others, torch.where(own, -1, last))
    assert torch.equal(SparseStrided(block).groups(spatial).q_index, cut)
    residue = SparseStrided(block, "residue")
    assert torch.equal(residue.groups(spatial).k_index, cut.T)
    assert residue.fit(spatial) == SparseStrided(block).fit(spatial) == (count, length)


def test_fixed_by_hand() -> None:
    groups = SparseFixed(3).groups((7,))
    assert groups.q_index.tolist() == [[0, 1, 2], [3, 4, 5], [6, -1, -1]]
    assert groups.k_index.tolist() == [
        [0, 1, 2, -1, 5, 6],
        [3, 4, 5, 2, -1, 6],
        [6, -1, -1, 2, 5, -1],
    ]
    assert groups.labels[0].tolist() == [[0, 0, 0], [0, 0, 0], [0, -1, -1]]
    assert groups.labels[1][2].tolist() == [0, -1, -1, 0, 0, -1]


def test_residues_by_hand() -> None:
    groups = SparseStrided(3, "residue").groups((7,))
    assert groups.q_index.tolist() == [[0, 3, 6], [1, 4, -1], [2, 5, -1]]
    assert groups.labels[1].tolist() == [[0, 0, 0], [0, 0, -1], [0, 0, -1]]


@pytest.mark.parametrize("part", ["local", "residue"])
def test_a_block_longer_than_the_list_is_padding(part: str) -> None:
    pattern = SparseStrided(5, part)  # type: ignore[arg-type]
    assert pattern.pairs((3,)) == (9 if part == "local" else 3)
    assert pattern.scores((3,)) == (25 if part == "local" else 5)
    assert SparseFixed(5).pairs((3,)) == 9
    assert SparseFixed(5).scores((3,)) == 5 * 6


def test_strides_of_a_row_are_axes() -> None:
    """With a block as long as a row, the two parts are attention along the two axes."""
    spatial, places = (3, 5), torch.cartesian_prod(torch.arange(3), torch.arange(5))
    same = places[:, None] == places[None, :]
    assert torch.equal(SparseStrided(5).allowed(spatial), same[..., 0])
    assert torch.equal(SparseStrided(5, "residue").allowed(spatial), same[..., 1])


@given(st.integers(1, 5000))
def test_no_block_is_the_root_rounded_up(tokens: int) -> None:
    for pattern in (SparseFixed(), SparseStrided(), SparseStrided(part="residue")):
        count, block = pattern.fit((tokens,))
        assert (block - 1) ** 2 < tokens <= block**2
        assert (count - 1) * block < tokens <= count * block


@pytest.mark.parametrize("root", [1, 2, 56, 1024, 30011])
def test_whole_roots_are_not_rounded(root: int) -> None:
    """Where a root is whole, rounding could fall either way; floating point must not decide."""
    assert SparseFixed().fit((root, root)) == (root, root)
    assert SparseFixed().fit((root * root + 1,))[1] == root + 1


def test_two_steps_cost_two_roots() -> None:
    """56 x 56 tokens, blocks of 56: the published 2 N sqrt(N), and N pairs fewer for fixed."""
    tokens, root = 56 * 56, 56
    parts = [SparseStrided(), SparseStrided(part="residue")]
    assert sum(p.pairs((56, 56)) for p in parts) == 2 * tokens * root
    assert sum(p.scores((56, 56)) for p in parts) == 2 * tokens * root
    assert SparseFixed().pairs((56, 56)) == 2 * tokens * root - tokens
    assert SparseFixed().scores((56, 56)) == 2 * tokens * root


@pytest.mark.parametrize("kind", [SparseFixed, SparseStrided])
@pytest.mark.parametrize(("block", "fix"), [(0, "block=1"), (-3, "block=1"), (2.5, "block=2")])
def test_a_block_that_cannot_be_is_refused(kind: type, block: object, fix: str) -> None:
    with refuses(f"block={block!r}", fix):
        kind(block)


def test_an_unknown_part_is_refused() -> None:
    with refuses("part='global'", "part='local'"):
        SparseStrided(part="global")  # type: ignore[arg-type]
