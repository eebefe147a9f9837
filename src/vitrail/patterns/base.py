"""``Groups``, the one form of every pattern, and the generic oracle built on it."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vitrail.shapes import Size


@dataclass(frozen=True, slots=True)
class Groups:
    """``G`` groups; in each, ``Tq`` queries meet ``Tk`` keys.

    A query may see a key of its group when their regions are equal. Index -1 is padding: a place
    in a group that holds no token. Indices point into the row-major list of tokens, and keys
    beyond it into each pooled grid of ``grids`` in turn.

    Args:
        q_index: token of each query, or -1.
        k_index: token of each key, or -1.
        q_region: label of each query; -1 where padding is a region of its own.
        k_region: label of each key.
        grids: lengths of each pooled key grid that follows the tokens, if any.
        k_box: each key's first and one-past-last input sample per axis, for pooled keys.
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

    @abstractmethod
    def groups(self, spatial: Size) -> Groups:
        """Write the pattern down for a grid of ``spatial`` tokens."""

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
            ``[queries, keys]``, True = may attend; keys beyond the tokens are pooled.
        """
        groups = self.groups(spatial)
        tokens = math.prod(spatial)
        keys = tokens + sum(math.prod(grid) for grid in groups.grids)
        seen = groups.q_region[0, :, :, None] == groups.k_region[0, :, None, :]
        # One row and one column more than there are tokens: padding (-1) lands there.
        allowed = torch.zeros(tokens + 1, keys + 1, dtype=torch.bool)
        rows = groups.q_index[:, :, None].expand_as(seen)
        columns = groups.k_index[:, None, :].expand_as(seen)
        allowed[rows[seen], columns[seen]] = True
        return allowed[:-1, :-1]
