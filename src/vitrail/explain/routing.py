"""Pull rows of weights back through a trace: blocks by their groups, merges by their children.

A row says how much of something each token of a grid holds, prefix tokens first. What attention
took from a token's keys is handed back to them; nothing is ever as large as tokens times tokens.
"""

import itertools
import math
from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitrail.explain.trace import BlockTrace, Trace
from vitrail.patterns import Groups
from vitrail.shapes import Size

# Which groups, which of their queries, and what each of these takes from each key.
Part = tuple[slice, slice, Float[Tensor, "groups queries keys"]]


def descend(
    trace: Trace,
    rows: Float[Tensor, "rows tokens"],
    block: int,
    pull: Callable[[int, Tensor], Tensor],
) -> list[Float[Tensor, "rows *grid"]]:
    """Pull rows back from behind a block to the first stage.

    Args:
        trace: what was captured.
        rows: what the tokens behind the block hold.
        block: its number in the trace.
        pull: pulls rows back through the block of a number.
    Returns:
        What the tokens of the grid hold where they enter each stage, from the block's stage back
        to the first. Prefix tokens begin there: they are learned, and what they hold ends.
    """
    maps = []
    for number in range(block, -1, -1):
        rows = pull(number, rows)
        here = trace.blocks[number]
        below = trace.blocks[number - 1] if number > 0 else None
        if below is not None and below.stage == here.stage:
            continue
        maps.append(rows[:, here.pattern.prefix :].unflatten(-1, here.spatial))
        if below is not None:
            grid = unmerged(maps[-1], _factor(trace, here.stage), below.spatial)
            prefix = rows.new_zeros(len(rows), below.pattern.prefix)
            rows = torch.cat((prefix, grid.flatten(1)), dim=1)
    return maps


def unmerged(
    rows: Float[Tensor, "rows *merged"], factor: Size, before: Size
) -> Float[Tensor, "rows *before"]:
    """Share what each merged token holds evenly among the real tokens that it is made of.

    Where a merge's convolution looks beyond its own cells (PVT v2), that is left out.

    Args:
        rows: what the merged tokens hold.
        factor: tokens along each axis that became one.
        before: lengths of the grid before the merge.
    """
    for axis, (f, n) in enumerate(zip(factor, before, strict=True), start=1):
        # An axis may end with a cell of fewer tokens (padded), or with tokens of no cell (cut).
        cells = rows.shape[axis]
        child = torch.arange(min(n, cells * f)) // f
        count = torch.bincount(child, minlength=cells).to(rows.dtype)
        shape = [-1 if i == axis else 1 for i in range(rows.ndim)]
        rows = (rows / count.view(shape)).index_select(axis, child)
        if rows.shape[axis] < n:
            left_over = list(rows.shape)
            left_over[axis] = n - rows.shape[axis]
            rows = torch.cat((rows, rows.new_zeros(left_over)), dim=axis)
    return rows


def taken(
    rows: Float[Tensor, "rows tokens"], block: BlockTrace, parts: Iterable[Part]
) -> Float[Tensor, "rows tokens"]:
    """Return what each token gave to the queries: ``r P^T blockdiag(A) P``.

    What goes to a pooled key is spread evenly over the tokens of its box; what goes to padding is
    lost.

    Args:
        rows: what the queries hold.
        block: whose groups these are.
        parts: what queries take from keys; queries that are left out take nothing.
    """
    groups, tokens = block.groups, rows.shape[1]
    cells = sum(math.prod(grid) for grid in groups.grids)
    # One place more than there are tokens and cells: padding (-1) lands there.
    given = rows.new_zeros(len(rows), tokens + cells + 1)
    for some, picked, weights in parts:
        q_index, k_index = groups.q_index[some, picked], groups.k_index[some]
        held = rows[:, q_index.clamp(min=0)] * (q_index >= 0)
        share = torch.einsum("rgq,gqk->rgk", held, weights)
        place = k_index.where(k_index >= 0, tokens + cells)
        given.index_add_(1, place.flatten(), share.flatten(1))
    result = given[:, :tokens]
    if cells:
        cell, token, part = boxes(groups, block.spatial, tokens)
        result = result.index_add(1, token, given[:, tokens + cell] * part)
    return result


def boxes(
    groups: Groups, spatial: Size, tokens: int
) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"], Float[Tensor, " pairs"]]:
    """Return every pair of a pooled cell and a token of its box, and one over the box's tokens.

    Args:
        groups: that name the cells and their boxes.
        spatial: lengths of the grid of tokens.
        tokens: their number, with prefix tokens; cells are counted from there.
    """
    assert groups.k_box is not None
    pooled = groups.k_index >= tokens
    cell, first = _unique(groups.k_index[pooled] - tokens)
    bounds = groups.k_box[pooled][first].unflatten(-1, (-1, 2))
    lengths = bounds[..., 1] - bounds[..., 0]
    volume = lengths.prod(-1)
    owner = torch.arange(len(cell)).repeat_interleave(volume)
    # Number of each token in its own box, row by row, then its place on the grid.
    rest = torch.arange(len(owner)) - (volume.cumsum(0) - volume)[owner]
    token = torch.zeros_like(rest)
    step = 1
    for axis in reversed(range(len(spatial))):
        length = lengths[owner, axis]
        token += (bounds[owner, axis, 0] + rest % length) * step
        rest = rest // length
        step *= spatial[axis]
    return cell[owner], token + tokens - math.prod(spatial), 1 / volume[owner].to(torch.float64)


def to_input(grid: Float[Tensor, "*grid"], trace: Trace) -> Float[Tensor, "*samples"]:
    """Spread a map of the first stage over the input: a token's value over its patch's samples.

    Args:
        grid: on the tokens of the first stage.
        trace: of the same input.
    Returns:
        A map with the same sum. Samples that no patch takes in get nothing.
    """
    stride = trace.blocks[0].stride
    return unmerged(grid[None], stride, trace.spatial)[0]


def _unique(values: Int[Tensor, " all"]) -> tuple[Int[Tensor, " some"], Int[Tensor, " some"]]:
    """Return the different values, and where each of them stands."""
    found, inverse = values.unique(return_inverse=True)
    places = torch.empty(len(found), dtype=torch.int64)
    return found, places.scatter_(0, inverse, torch.arange(len(values)))


def _factor(trace: Trace, stage: int) -> Size:
    """Return how many tokens along each axis became one where a stage begins."""
    merges = (merge.factor for merge in trace.merges if merge.stage == stage)
    return next(itertools.chain(merges, [(1,) * len(trace.spatial)]))
