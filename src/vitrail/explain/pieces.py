"""Walk over a block's attention a piece at a time, so that memory stays bounded."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitrail.explain.trace import BlockTrace

# Weights looked at in one go: 32 MB in float64.
MOST = 2**22


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """The attention of some queries of some groups.

    Args:
        groups: which groups.
        queries: which queries of each.
        q_index: token of each query, or -1 for padding, as in ``Groups``.
        k_index: token or pooled cell of each key, or -1.
        weights: how each query divides its attention, in float64.
    """

    groups: slice
    queries: slice
    q_index: Int[Tensor, "groups queries"]
    k_index: Int[Tensor, "groups keys"]
    weights: Float[Tensor, "groups heads queries keys"]


def pieces(
    block: BlockTrace, wanted: Bool[Tensor, "groups queries"] | None = None
) -> Iterator[Piece]:
    """Yield a block's attention in pieces.

    Args:
        block: what was captured.
        wanted: which queries are of interest; pieces in which none is are left out.
    Returns:
        At most ``MOST`` weights at a time, where a row is not longer than that.
    """
    q_index, k_index = block.groups.q_index, block.groups.k_index
    row = block.heads * k_index.shape[1]
    queries = min(q_index.shape[1], max(1, MOST // row))
    groups = max(1, MOST // (row * queries))
    for first in range(0, q_index.shape[0], groups):
        for start in range(0, q_index.shape[1], queries):
            some, part = slice(first, first + groups), slice(start, start + queries)
            if wanted is None or bool(wanted[some, part].any()):
                weights = block.part(some, part).to(torch.float64)
                yield Piece(some, part, q_index[some, part], k_index[some], weights)
