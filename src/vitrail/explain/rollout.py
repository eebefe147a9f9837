"""Attention rollout through a hierarchy: where the numbers in a token were routed from.

Attention is routing, not importance: rollout shows which tokens were mixed into a token and how
much, as if every block did nothing but mix; not what the model made of them.

Source: Abnar and Zuidema 2020, Quantifying Attention Flow in Transformers, arXiv 2005.00928.
Differs in that tokens meet in groups, are pooled, and merge; the definition:

1. The row ``r`` begins as one token's: 1 there, 0 elsewhere (``rollout_all``: the mean of the last
   stage's grid, or its first prefix token where the model pools that).
2. Through each block, last one first: ``r <- b r + (1 - b) r A``, where ``b`` is the residual and
   ``A`` the mean of the heads. Row ``q`` of ``A`` is what that query gives: to a token as it is;
   to a pooled key, spread evenly over the tokens of its box; what it gives to padding is left out,
   and the row divided by the rest, so that it sums to one.
3. Where a stage begins, prefix tokens end: they are learned, not seen. Their part is left out, and
   the row divided by the rest (in the end, which is the same: all that follows keeps the sum).
4. Through a merge, what a token holds is shared evenly among the real tokens that it is made of.
"""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitrail.errors import UsageError
from vitrail.explain.pieces import pieces
from vitrail.explain.routing import Part, descend, taken
from vitrail.explain.trace import BlockTrace, Position, Trace
from vitrail.shapes import Size


def rollout(
    trace: Trace, block: int, position: Position, *, residual: float = 0.5
) -> Float[Tensor, "*grid"]:
    """Return where a token behind a block was routed from, on the grid of the first stage.

    Args:
        trace: what was captured, of any rank.
        block: number of the block in the trace; negative numbers count from the end.
        position: of the token on the block's grid, or the number of a prefix token.
        residual: what a token keeps of itself in each block, from 0 up to, not including, 1.
    Returns:
        Shares that sum to one, in float64; ``routing.to_input`` spreads them over the samples.
    Raises:
        UsageError: no such block or token, or a residual out of range.
    """
    return rollout_stages(trace, block, position, residual=residual)[-1]


def rollout_stages(
    trace: Trace, block: int, position: Position, *, residual: float = 0.5
) -> list[Float[Tensor, "*grid"]]:
    """Return where a token was routed from, on the grid of each stage as its blocks begin.

    Args and Raises as ``rollout``.

    Returns:
        One map for each stage, from the block's own back to the first; each sums to one.
    """
    number = block_number(trace, block)
    last = trace.blocks[number]
    group, query = last.locate(position)
    row = torch.zeros(1, tokens(last), dtype=torch.float64)
    row[0, last.groups.q_index[group, query]] = 1
    return [rows[0] for rows in rollout_rows(trace, row, number, residual=residual)]


def rollout_all(trace: Trace, *, residual: float = 0.5) -> Float[Tensor, "*grid"]:
    """Return where the model's output was routed from: that of all tokens that are pooled.

    Args:
        trace: what was captured, of any rank.
        residual: what a token keeps of itself in each block, from 0 up to, not including, 1.
    Returns:
        Shares of the tokens of the first stage, which sum to one, in float64.
    Raises:
        UsageError: a residual out of range.
    """
    rows = rollout_rows(trace, answer_row(trace), len(trace.blocks) - 1, residual=residual)
    return rows[-1][0]


def rollout_from(
    trace: Trace,
    where: Size | Bool[Tensor, "*samples"],
    block: int = -1,
    *,
    residual: float = 0.5,
) -> Float[Tensor, "*grid"]:
    """Return where the tokens under a sample, or under a region of samples, were routed from.

    Args:
        trace: what was captured, of any rank.
        where: a sample's place in the input, from 0 along each axis; or True for each sample of a
            region, such as those of a class or in a box.
        block: number of the block in the trace behind which the tokens are; default the last one.
        residual: what a token keeps of itself in each block, from 0 up to, not including, 1.
    Returns:
        Shares of the tokens of the first stage, which sum to one, in float64: the mean over the
        region's samples.
    Raises:
        UsageError: no such block or sample, an empty region, or a residual out of range.
    """
    number = block_number(trace, block)
    last = trace.blocks[number]
    cells = samples_per_token(trace, where, last)
    row = torch.zeros(1, tokens(last), dtype=torch.float64)
    row[0, last.pattern.prefix :] = cells / cells.sum()
    return rollout_rows(trace, row, number, residual=residual)[-1][0]


def samples_per_token(
    trace: Trace, where: Size | Bool[Tensor, "*samples"], block: BlockTrace
) -> Float[Tensor, " tokens"]:
    """Return how many samples of a region lie over each token of a block's grid."""
    if isinstance(where, Tensor):
        places = where.nonzero() if tuple(where.shape) == trace.spatial else None
        given = f"a region of shape {tuple(where.shape)} with {int(where.sum())} samples"
    else:
        inside = len(where) == len(trace.spatial) and all(
            0 <= p < n for p, n in zip(where, trace.spatial, strict=True)
        )
        places = torch.tensor([where]) if inside else None
        given = f"where={tuple(where)}"
    if places is None or not len(places):
        raise UsageError(
            f"{given} of an input of {trace.spatial} samples",
            "a place from 0 along each axis, or a region of the input's shape with a sample",
            f"use where={tuple(n // 2 for n in trace.spatial)}",
        )
    # Samples that no patch takes in count to the last token of their axis.
    token = torch.zeros(len(places), dtype=torch.int64)
    for axis, (stride, length) in enumerate(zip(block.stride, block.spatial, strict=True)):
        token = token * length + (places[:, axis] // stride).clamp(max=length - 1)
    return torch.bincount(token, minlength=math.prod(block.spatial)).double()


def rollout_rows(
    trace: Trace, rows: Float[Tensor, "rows tokens"], block: int, *, residual: float = 0.5
) -> list[Float[Tensor, "rows *grid"]]:
    """Return where whole rows were routed from: ``rollout_stages`` for any tokens at once.

    Args:
        trace: what was captured.
        rows: what the tokens behind the block hold, prefix tokens first, in float64.
        block: number of the block in the trace.
        residual: what a token keeps of itself in each block.
    """
    if not 0 <= residual < 1:
        raise UsageError(
            f"residual={residual}", "a share from 0 up to, not including, 1", "use residual=0.5"
        )

    def pull(number: int, rows: Tensor) -> Tensor:
        here = trace.blocks[number]
        routed = taken(rows, here, _routes(here, rows))
        return residual * rows + (1 - residual) * routed

    maps = descend(trace, rows, block, pull)
    return [grid / _total(grid) for grid in maps]


def answer_row(trace: Trace) -> Float[Tensor, "1 tokens"]:
    """Return what the output is made of: the share of each of the last stage's tokens."""
    last = trace.blocks[-1]
    row = torch.zeros(1, tokens(last), dtype=torch.float64)
    prefix = last.pattern.prefix
    if trace.model.pool == "token" and prefix:
        row[0, 0] = 1
    else:
        row[0, prefix:] = 1 / (tokens(last) - prefix)
    return row


def tokens(block: BlockTrace) -> int:
    """Return how many tokens a block has, prefix tokens included."""
    return block.pattern.prefix + math.prod(block.spatial)


def block_number(trace: Trace, block: int) -> int:
    """Return the number of a block from 0 up, of one that may count from the end."""
    count = len(trace.blocks)
    if not -count <= block < count:
        raise UsageError(f"block={block}", f"{-count} to {count - 1}", f"use block={count - 1}")
    return block % count


def _routes(block: BlockTrace, rows: Tensor) -> Iterator[Part]:
    """Yield what those queries that hold anything take from each key, the mean of the heads."""
    q_index = block.groups.q_index
    wanted = (rows != 0).any(0)[q_index.clamp(min=0)] & (q_index >= 0)
    for piece in pieces(block, wanted):
        weights = piece.weights.mean(1) * (piece.k_index >= 0)[:, None]
        total = weights.sum(-1, keepdim=True)
        yield piece.groups, piece.queries, weights / total.clamp(min=1e-300)


def _total(rows: Tensor) -> Tensor:
    """Return the sum of each row; no row is empty, as attention never gives exactly nothing."""
    total = rows.flatten(1).sum(1).clamp(min=1e-300)
    return total.view(-1, *[1] * (rows.ndim - 1))
