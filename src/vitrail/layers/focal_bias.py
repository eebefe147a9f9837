"""Position biases of focal attention: tables for each level, or a small network for each."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.layers.position import RelativeBias
from vitrail.patterns import Focal
from vitrail.shapes import Size


class FocalBias(nn.Module):
    """One learned number for each head and each of: an offset within the window, a pair of a
    query and a key of the halo, and an offset from a query to a cell of each pooled level.

    What it depends on is the pattern alone; the same numbers serve maps of any size.

    Args:
        pattern: which tokens attend to which.
        num_heads: attention heads.
    Source: Yang et al. 2021, arXiv 2107.00641, section 3.2. As in the official code the halo has a
    number for each pair, not for each offset.
    """

    halo: nn.Parameter | None

    def __init__(self, pattern: Focal, num_heads: int) -> None:
        super().__init__()
        self.pattern = pattern
        self.own = RelativeBias(pattern.window, num_heads)
        tokens = math.prod(pattern.window)
        self.halo = None
        if pattern.halo_keys:
            self.halo = nn.Parameter(torch.empty(1, num_heads, tokens, pattern.halo_keys))
        self.pooled = nn.ParameterList(
            nn.Parameter(torch.empty(num_heads, math.prod(self._rows(k))))
            for k in range(len(pattern.levels))
        )

    def _rows(self, k: int) -> Size:
        """Return how many offsets there are along each axis, between tokens and cells."""
        reach = self.pattern.reach(k)
        return tuple(m + r - 1 for m, r in zip(self.pattern.window, reach, strict=True))

    def reset_parameters(self) -> None:
        """Draw the tables."""
        for table in (self.halo, *self.pooled):
            if table is not None:
                nn.init.trunc_normal_(table, std=0.02)

    def forward(self) -> Float[Tensor, "heads queries keys"]:
        """Return the bias of every head, in the pattern's order of keys."""
        parts = [self.own(self.pattern.window)]
        if self.halo is not None:
            parts.append(self.halo[0])
        for k, table in enumerate(self.pooled):
            parts.append(self._lookup(table, k))
        return torch.cat(parts, dim=-1)

    def _lookup(self, table: Tensor, k: int) -> Tensor:
        row = torch.zeros(1, 1, dtype=torch.int64, device=table.device)
        reach = self.pattern.reach(k)
        for m, r, rows in zip(self.pattern.window, reach, self._rows(k), strict=True):
            query = torch.arange(m, device=table.device)[:, None]
            offset = query - torch.arange(r, device=table.device) + (r - 1)
            row = row[:, None, :, None] * rows + offset[None, :, None, :]
            row = row.flatten(2).flatten(0, 1)
        return table[:, row.flatten()].unflatten(-1, row.shape)


class CoordinateBias(nn.Module):
    """A small network for each level, from the offset of a query and a key to one number a head.

    Args:
        axes: number of spatial axes.
        num_heads: attention heads.
        hidden: channels between; those of a head in the official code.
        levels: how many networks.
    Source: the second version ("fast") of the official Focal Transformer.
    """

    def __init__(self, axes: int, num_heads: int, hidden: int, levels: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(nn.Linear(axes, hidden), nn.ReLU(), nn.Linear(hidden, num_heads))
            for _ in range(levels)
        )

    def forward(
        self, level: int, queries: list[Tensor], keys: list[Tensor], bounds: tuple[int, ...]
    ) -> Float[Tensor, "windows heads queries keys"]:
        """Return the bias of one level, for each window.

        There are far fewer offsets than pairs: each is computed once, then looked up.

        Args:
            level: whose network.
            queries: place of each query from the window's middle, axis by axis, in tokens.
            keys: ``(windows, keys)``: place of each key from there, axis by axis, in tokens.
            bounds: what no offset exceeds, along each axis.
        """
        network = self.levels[level]
        weight = next(network.parameters())
        lines, row = [], torch.zeros(1, 1, 1, dtype=torch.int64, device=weight.device)
        for query, key, bound in zip(queries, keys, bounds, strict=True):
            line = torch.arange(2 * bound + 1, device=weight.device) - bound
            lines.append(line.to(weight.dtype))
            offset = query[None, :, None] - key[:, None, :] + bound
            row = row * (2 * bound + 1) + offset
        offsets = torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1).flatten(0, -2)
        table = network(offsets).mT
        return table[:, row.flatten()].unflatten(-1, row.shape).transpose(0, 1)
