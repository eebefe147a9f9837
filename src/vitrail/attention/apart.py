"""Keys that are not the queries' own tokens: pooled cells, queries of another grid, other samples.

Focal attention and PVT pool keys, Hiera pools queries; orders of points differ by sample.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitrail.attention.arrange import Heads, read
from vitrail.ops.windows import copy_as
from vitrail.patterns import Groups


class Tokens(NamedTuple):
    """What attends and is attended to, before it is arranged in groups.

    Args:
        x: one row for each token.
        project: from rows to queries, keys and values side by side, each head by head; to keys and
            values alone where ``queries`` are given; None: tokens are no keys.
        queries: projected queries that are not made of ``x`` token by token: pooled, strided, or
            of a linear layer of their own.
        pooled: projected keys and values of the pooled cells; of the tokens, where ``project`` is
            None and a pattern has no pooled grid.
        padding: queries, keys and values of padding that is seen; None: it is not.
    """

    x: Float[Tensor, "batch tokens channels"]
    project: Callable[[Tensor], Tensor] | None
    queries: Float[Tensor, "batch queries dim"] | None = None
    pooled: Float[Tensor, "batch cells double"] | None = None
    padding: Float[Tensor, " triple"] | None = None

    @property
    def num_queries(self) -> int:
        """Number of queries."""
        return (self.x if self.queries is None else self.queries).shape[1]


def one_sample(given: Tokens, groups: Groups) -> tuple[Tokens, Groups]:
    """Write groups that differ by sample as groups of one sample that is the whole batch."""
    batch, tokens, _ = given.x.shape
    cells = 0 if given.pooled is None else given.pooled.shape[1]
    member = torch.arange(batch, dtype=torch.int32, device=given.x.device)[:, None, None]
    q_index = groups.q_index + member * given.num_queries
    k_index = groups.k_index + member * tokens
    cell = groups.k_index + (batch - 1) * tokens + member * cells
    k_index = torch.where(groups.k_index < tokens, k_index, cell)
    index = [torch.where(old < 0, -1, new).flatten(0, 1)
             for old, new in ((groups.q_index, q_index), (groups.k_index, k_index))]  # fmt: skip
    region = [None if r is None else r.expand(batch, *r.shape[-2:]).flatten(0, 1)
              for r in (groups.q_region, groups.k_region)]  # fmt: skip
    if groups.q_index is groups.k_index and given.queries is None:
        index[1] = index[0]
    x, queries, pooled = (
        None if part is None else part.flatten(0, 1)[None]
        for part in (given.x, given.queries, given.pooled)
    )
    assert x is not None
    return Tokens(x, given.project, queries, pooled, given.padding), replace(
        groups, q_index=index[0], k_index=index[1], q_region=region[0], k_region=region[1],
        cut=None, all_keys=False,
    )  # fmt: skip


def apart_into_groups(given: Tokens, groups: Groups, heads: Heads) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values, ``(batch, groups, heads, tokens, head_dim)``."""
    q, rows = projected(given, heads)
    q = read(q, groups.q_index, groups.cut).unflatten(-1, heads).transpose(2, 3)
    if groups.all_keys:
        both = rows[:, None]
    else:
        index = key_index(given, groups)
        if given.padding is not None and not groups.full:
            nothing = given.padding[-rows.shape[-1] :].to(rows.dtype)
            rows = torch.cat((rows, nothing.expand(rows.shape[0], 1, -1)), dim=1)
            index = torch.where(index < 0, rows.shape[1] - 1, index)
        both = read(rows, index, None)
    k, v = both.unflatten(-1, (2, *heads)).permute(3, 0, 1, 4, 2, 5)
    if torch.compiler.is_exporting():
        # How a view's axes can be put together depends on whether there is one key or more.
        q, k, v = (copy_as(part, part.shape) for part in (q, k, v))
    return q, k, v


def projected(given: Tokens, heads: Heads) -> tuple[Tensor, Tensor]:
    """Return the rows of queries, and those of keys and values in the order of their numbers."""
    dim, rows, q = heads.number * heads.dim, [], given.queries
    if given.project is not None:
        wide = given.project(given.x)
        if q is None:
            q, wide = wide.split((dim, wide.shape[-1] - dim), dim=-1)
        rows.append(wide)
    if given.pooled is not None:
        rows.append(given.pooled)
    assert q is not None
    return q, rows[0] if len(rows) == 1 else torch.cat(rows, dim=1)


def key_index(given: Tokens, groups: Groups) -> Int[Tensor, "groups keys"]:
    """Return the row of each key among those of keys and values, -1 for padding."""
    if given.project is None and groups.grids:  # there are no rows of tokens before the cells'
        return torch.where(groups.k_index < 0, -1, groups.k_index - given.x.shape[1])
    return groups.k_index
