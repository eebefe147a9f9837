"""``Groups``, the one form of every pattern, and the generic oracle built on it."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vitrail.errors import UsageError
from vitrail.shapes import Size


@dataclass(frozen=True, slots=True)
class Groups:
    """``G`` groups; in each, ``Tq`` queries meet ``Tk`` keys.

    A query may see a key of its group when their regions are equal. Index -1 is padding: a place
    in a group that holds no token. Indices count the prefix tokens (such as CLS) first, then the
    row-major tokens of the grid, then, for keys alone, each pooled grid of ``grids`` in turn.

    Args:
        q_index: token of each query, or -1.
        k_index: token of each key, or -1.
        q_region: label of each query; -1 where padding is a region of its own.
        k_region: label of each key.
        grids: lengths of each pooled key grid that follows the tokens, if any.
        k_box: which tokens of the query grid a key stands for, wherever keys are pooled: axis by
            axis the first token and the one past the last; -1 for prefix tokens and padding.
    """

    q_index: Int[Tensor, "groups queries"]
    k_index: Int[Tensor, "groups keys"]
    q_region: Int[Tensor, "batch groups queries"]
    k_region: Int[Tensor, "batch groups keys"]
    grids: tuple[Size, ...] = ()
    k_box: Int[Tensor, "groups keys bounds"] | None = field(default=None)


class Pattern(ABC):
    """A frozen value that says which tokens see which, on a grid of any size."""

    __slots__ = ()

    prefix: int = 0
    """Prefix tokens (such as CLS) that stand before the grid; a pattern with some has a field."""

    @abstractmethod
    def groups(self, spatial: Size) -> Groups:
        """Write the pattern down for a grid of ``spatial`` tokens, prefix tokens not counted."""

    @abstractmethod
    def pairs(self, spatial: Size) -> int:
        """Count the permitted (query, key) pairs in closed form; equals ``allowed.sum()``."""

    @abstractmethod
    def scores(self, spatial: Size) -> int:
        """Count the products that an implementation by groups computes, padding included."""

    def allowed(self, spatial: Size) -> Bool[Tensor, "queries keys"]:
        """Tell for every pair of tokens whether the query may see the key.

        The oracle: O(N^2) in memory, for tests and small pictures only.

        Args:
            spatial: lengths of the grid, in tokens.
        Returns:
            ``[queries, keys]``, True = may attend; prefix tokens come before the grid's, and keys
            beyond the tokens are pooled.
        """
        groups = self.groups(spatial)
        tokens = self.prefix + math.prod(spatial)
        keys = tokens + sum(math.prod(grid) for grid in groups.grids)
        seen = groups.q_region[0, :, :, None] == groups.k_region[0, :, None, :]
        # One row and one column more than there are tokens: padding (-1) lands there.
        allowed = torch.zeros(tokens + 1, keys + 1, dtype=torch.bool)
        rows = groups.q_index[:, :, None].expand_as(seen)
        columns = groups.k_index[:, None, :].expand_as(seen)
        allowed[rows[seen], columns[seen]] = True
        return allowed[:-1, :-1]


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
