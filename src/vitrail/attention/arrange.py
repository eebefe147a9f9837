"""The way of tokens into the groups of a pattern, and back.

Where a grid cuts the groups they are views; elsewhere tokens are selected by index, which copies
them once: padding, rolling and cutting would copy them three times (ADR 39). Tokens are arranged
before they are projected, as queries, keys and values are three times as wide.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitrail.ops.windows import copy_as
from vitrail.patterns import Cut, Groups


class Heads(NamedTuple):
    """How channels are divided: ``number`` heads of ``dim`` channels each."""

    number: int
    dim: int


def into_groups(
    x: Float[Tensor, "batch tokens channels"],
    project: Callable[[Tensor], Tensor],
    groups: Groups,
    heads: Heads,
    padding: Float[Tensor, " triple"] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values of groups whose keys are their queries.

    Args:
        x: one row for each token.
        project: from rows to queries, keys and values side by side, each head by head.
        groups: which tokens meet.
        heads: how channels are divided.
        padding: queries, keys and values of padding that is seen; None: it is not.
    Returns:
        Three tensors ``(batch, groups, heads, tokens, head_dim)``.
    """
    rows = project(read(x, groups.q_index, groups.cut))
    if padding is not None and not groups.full:
        rows = torch.where(groups.q_index[..., None] < 0, padding.to(rows.dtype), rows)
    q, k, v = rows.unflatten(-1, (3, *heads)).permute(3, 0, 1, 4, 2, 5)
    return q, k, v


def read(
    x: Float[Tensor, "batch tokens channels"], index: Int[Tensor, "groups places"], cut: Cut | None
) -> Float[Tensor, "batch groups places channels"]:
    """Return the token of each place; any at all where there is none."""
    if cut is None:
        rows = x.index_select(1, index.clamp(min=0).flatten())
        return rows.view(x.shape[0], *index.shape, x.shape[-1])
    x = x.reshape(x.shape[0], *cut.shape, x.shape[-1])
    return _reordered(x, (*cut.outer, *cut.inner), (_count(cut, cut.outer), _count(cut, cut.inner)))


def write(
    x: Float[Tensor, "batch groups places channels"], groups: Groups, tokens: int
) -> Float[Tensor, "batch tokens channels"]:
    """Return one row for each of ``tokens`` queries, each of which has one place."""
    cut, index = groups.cut, groups.q_index
    if cut is not None:
        order = (*cut.outer, *cut.inner)
        x = x.view(x.shape[0], *(cut.shape[axis] for axis in order), x.shape[-1])
        return _reordered(x, [order.index(axis) for axis in range(len(order))], (tokens,))
    # The place of every token; what stands at places without one goes to a spare row.
    place = torch.arange(index.shape[0] * index.shape[1], device=index.device)
    home = torch.where(index < 0, tokens, index).flatten().long()
    place = place.new_empty(tokens + 1).scatter(0, home, place)[:-1]
    return x.flatten(1, 2).index_select(1, place)


def _count(cut: Cut, axes: tuple[int, ...]) -> int:
    return math.prod([cut.shape[axis] for axis in axes])


def _reordered(x: Tensor, order: list[int] | tuple[int, ...], lengths: tuple[int, ...]) -> Tensor:
    """Permute the axes between the first and the last, and give them other lengths."""
    shape = (x.shape[0], *lengths, x.shape[-1])
    if list(order) == sorted(order):
        return x.reshape(shape)
    return copy_as(x.permute(0, *(1 + axis for axis in order), x.ndim - 1), shape)
