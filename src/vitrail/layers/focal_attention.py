"""Focal attention, in any rank: windows that gather keys around them and from pooled grids."""

import math
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vitrail.layers.focal_bias import CoordinateBias, FocalBias
from vitrail.layers.grouped_attention import GroupedAttention
from vitrail.ops.windows import pad, padded_lengths, partition
from vitrail.patterns import Focal, Groups, Nearest
from vitrail.patterns.nearest import reach
from vitrail.shapes import Size, sym_min


class _GatheringAttention(GroupedAttention):
    """Multi-head attention from each window to keys gathered from the tokens and pooled grids.

    Args:
        dim: channels.
        num_heads: attention heads; divides ``dim``.
        pattern: which tokens attend to which.
        levels: pooled grids; that of level ``k`` has ``2**k`` cells a window along each axis.
        options: as ``GroupedAttention``.
    """

    pattern: Any

    def __init__(
        self, dim: int, num_heads: int, pattern: Focal | Nearest, levels: int, **options: Any
    ) -> None:
        super().__init__(dim, num_heads, pattern, **options)
        # Each pools the tokens of a cell into one, all channels alike.
        self.pool = nn.ModuleList(
            nn.Linear(math.prod(m // 2**k for m in pattern.window), 1) for k in range(levels)
        )

    def reset_parameters(self) -> None:
        """Let each cell start as the mean of its tokens.

        So does the official code, which then draws over it by accident.
        """
        for pool in self.pool:
            weight, bias = pool.parameters()
            nn.init.constant_(weight, 1 / weight.shape[-1])
            nn.init.zeros_(bias)

    def pool_cells(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch cells dim"] | None:
        """Pool the tokens into the cells of each level; None without levels."""
        window, levels = self.pattern.window, []
        x = pad(x, padded_lengths(x.shape[1:-1], window))
        for k, pool in enumerate(self.pool):
            grid = x
            for axis, (length, m) in enumerate(zip(x.shape[1:-1], window, strict=True), 1):
                if m % 2**k:  # cells are rounded down
                    whole = length // m * 2**k * (m // 2**k)
                    grid = grid.narrow(axis, (length - whole) // 2, whole)
            parts = partition(grid, tuple(m // 2**k for m in window))
            weight, bias = cast(nn.Linear, pool).parameters()
            levels.append((weight @ parts).squeeze(-2) + bias)
        return torch.cat(levels, dim=1) if levels else None

    def pooled_kv(self, x: Tensor) -> Float[Tensor, "batch cells double"] | None:
        """Return keys and values of the cells, projected as tokens are."""
        cells, bias = self.pool_cells(x), self.projection_bias()
        if cells is None:
            return None
        dim = cells.shape[-1]
        return F.linear(cells, self.qkv.weight[dim:], None if bias is None else bias[dim:])


class FocalAttention(_GatheringAttention):
    """Multi-head attention to the own window, its halo and pooled grids, with learned biases.

    Args:
        dim: channels.
        num_heads: attention heads; divides ``dim``.
        pattern: which tokens attend to which.
        options: as ``GroupedAttention``.
    Source: Yang et al. 2021, Focal Self-attention, arXiv 2107.00641, section 3.2.
    """

    pattern: Focal

    def __init__(self, dim: int, num_heads: int, pattern: Focal, **options: Any) -> None:
        super().__init__(dim, num_heads, pattern, len(pattern.levels), **options)
        self.bias = FocalBias(pattern, num_heads)

    def pair_bias(self, groups: Groups, spatial: Size) -> Tensor:
        """Return what is added to the scores of every window."""
        del groups, spatial
        return self.bias()


class NearestAttention(_GatheringAttention):
    """Multi-head attention to the tokens and pooled windows nearest to the window's middle.

    Args:
        dim: channels.
        num_heads: attention heads; divides ``dim``.
        pattern: which tokens attend to which.
        options: as ``GroupedAttention``.
    Source: the second version ("fast") of the official Focal Transformer.
    """

    pattern: Nearest

    def __init__(self, dim: int, num_heads: int, pattern: Nearest, **options: Any) -> None:
        super().__init__(dim, num_heads, pattern, 1, **options)
        self.bias = CoordinateBias(len(pattern.window), num_heads, self.head_dim, 2)

    def pair_bias(self, groups: Groups, spatial: Size) -> Tensor:
        """Return what is added to the scores of each window: a function of true offsets.

        From a query to a token, and from a query to the middle of a pooled window.
        """
        count, size = self.pattern.count, self.pattern.window
        windows, device = self.pattern.fit(spatial), groups.k_index.device
        own_cell = _mesh([torch.arange(n, device=device) for n in windows])
        queries = _mesh([torch.arange(m, device=device) - m // 2 for m in size])
        tokens = sym_min(count, math.prod(spatial))
        near = groups.k_index.narrow(1, 0, tokens)
        coarse = groups.k_index.narrow(1, tokens, groups.k_index.shape[1] - tokens)
        places = zip(
            _unravelled(near, spatial), _unravelled(coarse - math.prod(spatial), windows),
            own_cell, size, strict=True,
        )  # fmt: skip
        keys, cell_keys = [], []
        for token, cell, mine, m in places:
            keys.append(token - (mine * m + m // 2)[:, None])
            cell_keys.append((cell - mine[:, None]) * m)
        # A middle that was moved onto the map is at most a window away from a query.
        bounds = tuple(r + m for r, m in zip(reach(spatial, count), size, strict=True))
        wide = tuple((r + 1) * m for r, m in zip(reach(windows, count), size, strict=True))
        parts = self.bias(0, queries, keys, bounds), self.bias(1, queries, cell_keys, wide)
        return torch.cat(parts, dim=-1)


def _mesh(lines: list[Tensor]) -> list[Tensor]:
    """Return each axis' value at every place of the grid that ``lines`` span, flattened."""
    return [part.flatten() for part in torch.meshgrid(*lines, indexing="ij")]


def _unravelled(index: Tensor, lengths: Size) -> list[Tensor]:
    """Return the place along each axis that a row-major number stands for."""
    places: list[Tensor] = []
    for n in reversed(lengths):
        # A length that is a tensor: ONNX has no remainder of a symbolic number.
        length = index.new_zeros(()) + n
        places.insert(0, index % length)
        index = index // length
    return places
