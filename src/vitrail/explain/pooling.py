"""Attention whose queries are pooled, as tokens see it: those of a cell share its query.

A trace has one grid a block. A block that pools its queries (Hiera) reads one grid and writes
another: it is kept on the grid that it reads, where the tokens of a cell attend alike, and a merge
of as many tokens follows. Nothing is approximate about that: each row of the layer stands once for
every token of its cell.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitrail.errors import UsageError
from vitrail.explain.trace import BlockTrace, MergeTrace
from vitrail.layers import PoolingBlock
from vitrail.models import Backbone
from vitrail.patterns import PooledQueries
from vitrail.shapes import Size


def check_drawable(model: Backbone) -> None:
    """Refuse a model with a stage whose only block pools: its own grid has no attention.

    Raises:
        UsageError: always, for such a model.
    """
    for number, stage in enumerate(model.stages):
        blocks = list(stage.blocks)  # type: ignore[arg-type]
        if len(blocks) == 1 and isinstance(blocks[0], PoolingBlock):
            raise UsageError(
                f"a model whose stage {number} has one block, which pools its queries",
                "two blocks or more in such a stage: the first is drawn on the grid that it reads",
                f"create the model with a greater depth than depths={model.config.depths}",
            )


def by_token(
    block: BlockTrace, strides: Sequence[Size], before: Sequence[BlockTrace]
) -> BlockTrace:
    """Return a block of pooled queries on the grid that it reads, a query for each token.

    Args:
        block: as its layer ran: queries of cells.
        strides: input samples per token, stage by stage.
        before: the blocks that ran before.
    """
    pattern = block.pattern
    assert isinstance(pattern, PooledQueries)
    groups = pattern.tokens.groups_with_boxes(block.spatial)
    source = _source(pattern, groups.q_index, block.groups.q_index, block.spatial)
    q_region, k_region = groups.labels
    stage = block.stage - 1
    return replace(
        block,
        stage=stage,
        block=1 + max(other.block for other in before if other.stage == stage),
        pattern=pattern.tokens,
        stride=strides[stage],
        groups=groups,
        q=spread_queries(block.q, source),
        region=None if block.region is None else (q_region, k_region),
        pooled=pattern.stride,
        source=source,
    )


def _source(
    pattern: PooledQueries, tokens: Tensor, cells: Tensor, spatial: Size
) -> Int[Tensor, "groups queries"]:
    """Return where the query of each token's cell stands among the layer's, -1 for padding."""
    lengths = pattern.cells(spatial)
    rest, cell, step = tokens.long().clamp(min=0), torch.zeros_like(tokens).long(), 1
    for n, s, count in zip(
        reversed(spatial), reversed(pattern.stride), reversed(lengths), strict=True
    ):
        cell = cell + rest % n // s * step
        rest, step = rest // n, step * count
    home = torch.empty(math.prod(lengths) + 1, dtype=torch.int64)
    flat = cells.flatten().long()
    home[torch.where(flat < 0, len(home) - 1, flat)] = torch.arange(len(flat))
    return home[cell].masked_fill(tokens < 0, -1)


def spread_queries(
    x: Float[Tensor, "groups heads cells dim"], source: Int[Tensor, "groups queries"]
) -> Float[Tensor, "groups heads queries dim"]:
    """Return what belongs to each token's cell; zeros at padding."""
    rows = x.transpose(1, 2).flatten(0, 1)
    found = rows[source.clamp(min=0)] * (source >= 0)[..., None, None].to(x.dtype)
    return found.transpose(1, 2).contiguous()


def spread_cells(
    x: Float[Tensor, "*cells dim"], stride: Size, spatial: Size
) -> Float[Tensor, "*spatial dim"]:
    """Return a map of cells on the grid of their tokens."""
    for axis, (s, n) in enumerate(zip(stride, spatial, strict=True)):
        x = x.repeat_interleave(s, axis).narrow(axis, 0, n)
    return x


def merge_of(block: BlockTrace, cells: Size) -> MergeTrace:
    """Return the merge that follows a block of pooled queries."""
    assert block.pooled is not None
    return MergeTrace(
        stage=block.stage + 1,
        before=block.spatial,
        after=cells,
        factor=block.pooled,
        overlap=(0,) * len(cells),
        share=None,
    )
