"""``Groups``, the one form of every pattern, and the generic oracle built on it."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vitrail.errors import UsageError
from vitrail.patterns.lines import arange, mesh
from vitrail.patterns.sets import TokenSet, boxes_filled
from vitrail.shapes import Size

Padding = Literal["masked", "visible"]


@dataclass(frozen=True, slots=True)
class Cut:
    """Groups that are views of the list of tokens: it is reshaped, and its axes are reordered.

    Args:
        shape: lengths of the axes that the list is reshaped to.
        inner: those axes that run through the tokens of a group, slowest first; the others, in
            their order, run through the groups.
    """

    shape: Size
    inner: tuple[int, ...]

    @property
    def outer(self) -> tuple[int, ...]:
        """The axes that run through the groups."""
        return tuple(axis for axis in range(len(self.shape)) if axis not in self.inner)


def window_cut(spatial: Size, window: Size) -> Cut:
    """Return the views that cut a grid into windows that divide it."""
    pairs = [(n // m, m) for n, m in zip(spatial, window, strict=True)]
    return Cut(tuple(n for pair in pairs for n in pair), tuple(range(1, 2 * len(pairs), 2)))


@dataclass(frozen=True, slots=True)
class Groups:
    """``G`` groups; in each, ``Tq`` queries meet ``Tk`` keys.

    A query may see a key of its group when their regions are equal. Index -1 is padding: a place
    in a group that holds no token. Indices count the prefix tokens (such as CLS) first, then the
    row-major tokens of the grid, then, for keys alone, each pooled grid of ``grids`` in turn. Every
    query stands in one group and sees a key there.

    Whole numbers of 32 bits. The fields from ``full`` on are static: they are known without
    reading a tensor, and claim nothing that does not hold at every size a traced graph serves.

    Args:
        q_index: token of each query, or -1; with a batch axis where groups differ by sample.
        k_index: token of each key, or -1; the very same tensor where queries are the keys.
        q_region: label of each query; -1 where padding is a region of its own. None: 0 for all.
        k_region: label of each key; None as above.
        grids: lengths of each pooled key grid that follows the tokens, if any.
        q_grid: lengths of the grid that queries are counted in, where they are not the tokens:
            pooled or strided ones.
        k_box: which tokens of the query grid a key stands for, wherever keys are pooled: axis by
            axis the first token and the one past the last; -1 for prefix tokens and padding. Only
            ``Pattern.groups_with_boxes`` fills it.
        full: no index is -1.
        unique_keys: no key stands in two groups.
        all_keys: there is one group, and its keys are all cells in order, or all tokens.
        cut: the views that give the queries, where views do.
        extent: lengths of the box of tokens that each group is, row-major, where all are alike: a
            bias by offset is then one for all.
    """

    q_index: Int[Tensor, "... groups queries"]
    k_index: Int[Tensor, "... groups keys"]
    q_region: Int[Tensor, "... groups queries"] | None = None
    k_region: Int[Tensor, "... groups keys"] | None = None
    grids: tuple[Size, ...] = ()
    q_grid: Size | None = None
    k_box: Int[Tensor, "groups keys bounds"] | None = None
    full: bool = False
    unique_keys: bool = False
    all_keys: bool = False
    cut: Cut | None = None
    extent: Size | None = None

    @property
    def labels(self) -> tuple[Int[Tensor, "... groups queries"], Int[Tensor, "... groups keys"]]:
        """The regions of queries and keys, zeros where there is but one."""
        if self.q_region is None or self.k_region is None:
            return torch.zeros_like(self.q_index), torch.zeros_like(self.k_index)
        return self.q_region, self.k_region


class Pattern(ABC):
    """A frozen value that says which tokens see which, on a grid of any size."""

    __slots__ = ()

    prefix: int = 0
    """Prefix tokens (such as CLS) that stand before the grid; a pattern with some has a field."""

    padding: Padding = "masked"
    """Whether padding joins the softmax (``"visible"``); a pattern that lets it has a field."""

    @abstractmethod
    def groups(self, spatial: Size, device: torch.device | None = None) -> Groups:
        """Write the pattern down for a grid of ``spatial`` tokens, prefix tokens not counted.

        Index arithmetic without a branch on a length: layers call it in ``forward``, and it traces
        with symbolic lengths.
        """

    @abstractmethod
    def pairs(self, spatial: Size) -> int:
        """Count the permitted (query, key) pairs in closed form; equals ``allowed.sum()``."""

    @abstractmethod
    def scores(self, spatial: Size) -> int:
        """Count the products that an implementation by groups computes, padding included."""

    def grid(self, lengths: Size) -> Size:
        """Return the grid of a layer's tokens: with prefix tokens it gets a list that has both."""
        return (lengths[0] - self.prefix,) if self.prefix else lengths

    def cell_boxes(self, spatial: Size) -> Int[Tensor, "cells bounds"] | None:
        """Return the box of every pooled key, in the order of their numbers, if there are any."""
        del spatial
        return None

    def groups_with_boxes(self, spatial: Size) -> Groups:
        """Return ``groups`` with the tokens that each key stands for, for pictures."""
        groups, cells = self.groups(spatial), self.cell_boxes(spatial)
        if cells is None:
            return groups
        place = coordinates(spatial)
        tokens = torch.stack((place, place + 1), dim=-1).flatten(1)
        # The last row is that of padding.
        none = tokens.new_full((1, tokens.shape[1]), -1)
        boxes = torch.cat((none.expand(self.prefix, -1), tokens, cells.to(tokens), none))
        k_box = boxes[groups.k_index]
        # A cell that visible padding alone makes stands for no token, as padding does.
        empty = (k_box[..., 0::2] >= k_box[..., 1::2]).any(-1)
        k_index = groups.k_index.masked_fill(empty & (groups.k_index >= self.prefix), -1)
        return replace(groups, k_index=k_index, k_box=k_box.masked_fill(empty[..., None], -1))

    def seen(self, spatial: Size, tokens: TokenSet) -> list[TokenSet]:
        """Return the tokens that some tokens attend to, themselves or through pooled keys.

        For patterns without prefix tokens. Patterns override this slow way with a closed form
        that takes no more memory than the sets, on a grid of any size. Tokens of the set itself
        may be missing in the result, as a block's input reaches its output in any case.

        Args:
            spatial: lengths of the grid, in tokens.
            tokens: the queries.
        """
        found = seen_by(self.groups_with_boxes(spatial), tokens.dense(spatial).flatten(), spatial)
        return [TokenSet.of((0,) * len(spatial), found.view(spatial))] if found.any() else []

    def allowed(self, spatial: Size) -> Bool[Tensor, "queries keys"]:
        """Tell for every pair of tokens whether the query may see the key.

        The oracle: O(N^2) in memory, for tests and small pictures only.

        Args:
            spatial: lengths of the grid, in tokens.
        Returns:
            ``[queries, keys]``, True = may attend; prefix tokens come before the grid's, and keys
            beyond the tokens are pooled.
        """
        groups = self.groups_with_boxes(spatial)
        tokens = self.prefix + math.prod(spatial)
        queries = tokens if groups.q_grid is None else math.prod(groups.q_grid)
        keys = tokens + sum(math.prod(grid) for grid in groups.grids)
        q_region, k_region = groups.labels
        seen = q_region[:, :, None] == k_region[:, None, :]
        # One row and one column more than there are tokens: padding (-1) lands there.
        allowed = torch.zeros(queries + 1, keys + 1, dtype=torch.bool)
        rows = groups.q_index[:, :, None].expand_as(seen)
        columns = groups.k_index[:, None, :].expand_as(seen)
        allowed[rows[seen], columns[seen]] = True
        return allowed[:-1, :-1]


def coordinates(spatial: Size) -> Int[Tensor, "tokens axes"]:
    """Return where each token of a grid lies, in row-major order."""
    return mesh([arange(n) for n in spatial])


def seen_by(groups: Groups, tokens: Bool[Tensor, " tokens"], grid: Size) -> Bool[Tensor, " tokens"]:
    """Return the tokens that some ``tokens`` attend to, themselves or through pooled keys.

    Args:
        groups: which tokens attend to which on ``grid``.
        tokens: the queries, prefix tokens first.
        grid: tokens along each axis.
    """
    q_region, k_region = groups.labels
    labels = int(max(q_region.max(), k_region.max())) + 2
    first = torch.arange(len(q_region))[:, None] * labels + 1
    # One flag for each group and label: does the group have a query with that label?
    flags = torch.zeros(len(q_region) * labels, dtype=torch.bool)
    queries = (groups.q_index >= 0) & tokens[groups.q_index.clamp(min=0)]
    flags[(first + q_region)[queries]] = True
    seen = flags[first + k_region] & (groups.k_index >= 0)
    found = torch.zeros_like(tokens)
    pooled = seen & (groups.k_index >= len(tokens))
    found[groups.k_index[seen & ~pooled]] = True
    if groups.k_box is not None and pooled.any():
        cells = boxes_filled(groups.k_box[pooled]).dense(grid)
        found[len(tokens) - math.prod(grid) :] |= cells.flatten()
    return found


def check_whole(name: str, given: object, minimum: int) -> None:
    """Refuse a field that is no whole number, or one below ``minimum``."""
    if not isinstance(given, int) or isinstance(given, bool) or given < minimum:
        nearest = minimum
        if isinstance(given, int | float) and math.isfinite(given):
            nearest = max(minimum, int(given))
        allowed = f"a whole number of at least {minimum}"
        raise UsageError(f"{name}={given!r}", allowed, f"use {name}={nearest}")


def check_word(name: str, given: str, allowed: tuple[str, ...]) -> None:
    """Refuse a field that is none of the ``allowed`` words."""
    if given not in allowed:
        raise UsageError(f"{name}={given!r}", " or ".join(allowed), f"use {name}={allowed[0]!r}")


def check_axes(name: str, size: Size, spatial: Size) -> None:
    """Refuse a grid with another number of axes than a pattern's field is written for."""
    if len(size) != len(spatial):
        axes = f"{len(size)} spatial {'axis' if len(size) == 1 else 'axes'}"
        raise UsageError(
            f"a grid of {tuple(spatial)} tokens for {name}={size}",
            f"a grid with {axes}",
            f"use {name}={size[:1] * len(spatial)}",
        )
