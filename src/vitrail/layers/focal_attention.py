"""Focal attention, in any rank: windows that gather keys around them and from pooled grids."""

import math
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vitrail.attention import Places, Region, attend_groups
from vitrail.layers.attend import Attend
from vitrail.layers.focal_bias import CoordinateBias, FocalBias
from vitrail.ops.halo import (
    Keys,
    cell_size,
    cells,
    exact_halo,
    nearest,
    nearest_reach,
    own,
    rolled_halo,
)
from vitrail.ops.windows import crop, known_zero, pad, padded_lengths, partition, unpartition
from vitrail.ops.windows import places as window_places
from vitrail.patterns import Focal, Nearest
from vitrail.shapes import Size


class _GatheringAttention(nn.Module):
    """Multi-head attention from each window to keys gathered from the tokens and pooled grids.

    Args:
        dim: channels.
        num_heads: attention heads; divides ``dim``.
        window: tokens along each axis.
        levels: pooled grids; that of level ``k`` has ``2**k`` cells a window along each axis.
        qkv_bias: queries, keys and values have a bias.
        attn_drop: probability of dropping an attention weight.
        proj_drop: probability of dropping an output value.
    """

    pattern: Any
    visible_padding = False  # tokens see padding

    def __init__(
        self, dim: int, num_heads: int, window: Size, levels: int, *,
        qkv_bias: bool, attn_drop: float, proj_drop: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_heads = num_heads
        self.window = window
        self.scale = (dim // num_heads) ** -0.5
        # Each pools the tokens of a cell into one, all channels alike.
        self.pool = nn.ModuleList(
            nn.Linear(math.prod(m // 2**k for m in window), 1) for k in range(levels)
        )
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.attend = Attend(dropout=attn_drop)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)

    def extra_repr(self) -> str:
        """Show the heads, and who sees whom."""
        return f"num_heads={self.num_heads}, {self.pattern}"

    def reset_parameters(self) -> None:
        """Let each cell start as the mean of its tokens.

        So does the official code, which then draws over it by accident.
        """
        for pool in self.pool:
            weight, bias = pool.parameters()
            nn.init.constant_(weight, 1 / weight.shape[-1])
            nn.init.zeros_(bias)

    def keys(
        self, spatial: Size, lengths: Size, device: torch.device
    ) -> tuple[list[Keys], Region | None]:
        """Return the places that each window gathers, grid by grid, and the labels of all."""
        raise NotImplementedError

    def position_bias(self, spatial: Size, found: list[Keys]) -> Tensor:
        """Return what is added to the scores."""
        raise NotImplementedError

    def pooled(
        self, x: Float[Tensor, "batch *padded dim"]
    ) -> list[Float[Tensor, "batch cells dim"]]:
        """Return the cells of each level, in row-major order."""
        levels = []
        for k, pool in enumerate(self.pool):
            grid = x
            for axis, (length, m) in enumerate(zip(x.shape[1:-1], self.window, strict=True), 1):
                size, first = cell_size(m, length // m, k)
                if not known_zero(first, length % m, m % 2**k):
                    grid = grid.narrow(axis, first, length // m * 2**k * size)
            parts = partition(grid, tuple(m // 2**k for m in self.window))
            weight, bias = cast(nn.Linear, pool).parameters()
            levels.append((weight @ parts).squeeze(-2) + bias)
        return levels

    def project_cells(
        self, cells: Float[Tensor, "batch cells dim"]
    ) -> Float[Tensor, "batch cells double"]:
        """Project to keys and values, as ``qkv`` does: cells ask nothing."""
        dim = cells.shape[-1]
        bias = None if self.qkv.bias is None else self.qkv.bias[dim:]
        return F.linear(cells, self.qkv.weight[dim:], bias)

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *spatial dim"]:
        """Let every token attend to the keys that the pattern gives its window."""
        spatial = x.shape[1:-1]
        lengths = padded_lengths(spatial, self.window)
        padded = pad(x, lengths)
        coarse = [self.project_cells(level) for level in self.pooled(padded)]
        found, region = self.keys(spatial, lengths, x.device)
        backend = self.attend.kernel(
            x, x.shape[-1] // self.num_heads, queries=math.prod(self.window),
            keys=sum(keys.places.shape[-1] for keys in found), region=region is not None,
        )  # fmt: skip
        if backend is None:
            return self._composed(padded, spatial, coarse, found, region)
        return self._in_place(x, coarse, found, backend)

    def _in_place(self, x: Tensor, coarse: list[Tensor], found: list[Keys], backend: str) -> Tensor:
        """Attend where the tokens are: no window holds a copy of its keys."""
        heads, spatial = self.num_heads, x.shape[1:-1]
        qkv = self.qkv(x).flatten(1, -2).unflatten(-1, (3, heads, -1))
        fill = None
        if self.visible_padding:
            fill = qkv.new_zeros(qkv.shape[2:]) if self.qkv.bias is None else self.qkv.bias
            fill = fill.view(3, heads, -1)
        bias = self.position_bias(spatial, found)
        out = attend_groups(
            qkv,
            self.who(spatial, found, [level.shape[1] for level in coarse], x.device),
            scale=self.scale,
            bias=bias[None] if bias.ndim == 3 else bias,
            pooled=torch.cat(coarse, dim=1).unflatten(-1, (2, heads, -1)) if coarse else None,
            fill=fill,
            backend=backend,
        )
        return self.proj_drop(self.proj(out)).view(x.shape)

    def who(
        self, spatial: Size, found: list[Keys], cells: list[int], device: torch.device
    ) -> Places:
        """Return which tokens and cells every window meets; tokens as the unpadded grid has them.

        Args:
            spatial: lengths of that grid.
            found: what ``keys`` returned.
            cells: how many each level has.
            device: where the numbers are needed.
        """
        lengths = padded_lengths(spatial, self.window)
        q_index, _ = window_places(spatial, self.window, (0,) * len(spatial), device=device)
        fine = _unpadded(found[0].places, lengths, spatial)
        before, index = math.prod(spatial), [fine.masked_fill(~found[0].seen, -1)]
        for keys, count in zip(found[1:], cells, strict=True):
            index.append((keys.places + before).masked_fill(~keys.seen, -1))
            before = before + count
        k_index = torch.cat(index, dim=-1).to(torch.int32)
        if not self.visible_padding:
            return Places(q_index, k_index)
        # Padding is seen where the pattern sees it: there are keys that are nothing at all.
        seen = torch.cat([keys.seen for keys in found], dim=-1)
        return Places(q_index, k_index, torch.zeros_like(q_index), seen.to(torch.int32) - 1)

    def _composed(
        self, x: Tensor, spatial: Size, coarse: list[Tensor], found: list[Keys],
        region: Region | None,
    ) -> Tensor:  # fmt: skip
        """Cut the padded tokens into windows, gather the keys of each, and attend."""
        dim, lengths = x.shape[-1], x.shape[1:-1]
        q, fine = self.qkv(x).split((dim, 2 * dim), dim=-1)
        q = partition(q, self.window).unflatten(-1, (self.num_heads, -1)).transpose(2, 3)
        k, v = self._gather([fine.flatten(1, -2), *coarse], found)
        out = self.attend(
            q, k, v, scale=self.scale, bias=self.position_bias(spatial, found), region=region
        )
        out = self.proj_drop(self.proj(out.transpose(2, 3).flatten(3)))
        return crop(unpartition(out, self.window, lengths), spatial)

    def _gather(self, grids: list[Tensor], found: list[Keys]) -> tuple[Tensor, Tensor]:
        """Return keys and values, ``(batch, windows, heads, keys, head_dim)``."""
        before, index = 0, []
        for grid, keys in zip(grids, found, strict=True):
            index.append(keys.places + before)
            before = before + grid.shape[1]
        places = torch.cat(index, dim=-1)
        both = torch.cat(grids, dim=1).index_select(1, places.flatten())
        both = both.unflatten(1, places.shape).unflatten(-1, (2, self.num_heads, -1))
        k, v = both.permute(3, 0, 1, 4, 2, 5)
        return k, v


class FocalAttention(_GatheringAttention):
    """Multi-head attention to the own window, its halo and pooled grids, with learned biases.

    Args:
        dim: channels.
        num_heads: attention heads; divides ``dim``.
        pattern: who sees whom.
        qkv_bias: queries, keys and values have a bias.
        attn_drop: probability of dropping an attention weight.
        proj_drop: probability of dropping an output value.
    Source: Yang et al. 2021, Focal Self-attention, arXiv 2107.00641, section 3.2.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        pattern: Focal,
        *,
        qkv_bias: bool = True,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__(
            dim, num_heads, pattern.window, len(pattern.levels),
            qkv_bias=qkv_bias, attn_drop=attn_drop, proj_drop=proj_drop,
        )  # fmt: skip
        self.pattern = pattern
        self.visible_padding = pattern.padding == "visible"
        self.bias = FocalBias(pattern, num_heads)

    def keys(
        self, spatial: Size, lengths: Size, device: torch.device
    ) -> tuple[list[Keys], Region | None]:
        """Return the places that each window gathers, grid by grid, and the labels of all."""
        pattern, window = self.pattern, self.window
        real = spatial if pattern.padding == "masked" else lengths
        fine = [own(real, lengths, window, device)]
        if pattern.halo_keys:
            halo = rolled_halo if pattern.halo == "rolled" else exact_halo
            fine.append(halo(spatial, real, lengths, window, pattern.margin, device))
        windows = [length // m for length, m in zip(lengths, window, strict=True)]
        places = torch.cat([keys.places for keys in fine], dim=-1)
        found = [Keys(places, torch.cat([keys.seen for keys in fine], dim=-1))]
        for k, focal in enumerate(pattern.levels):
            found.append(cells(real, windows, window, k, focal, device))
        if self._all_seen(real, lengths):
            return found, None
        seen = torch.cat([keys.seen for keys in found], dim=-1)
        tokens = math.prod(window)
        asking = torch.zeros(1, seen.shape[0], tokens, dtype=torch.int32, device=device)
        return found, (asking, seen[None].to(torch.int32) - 1)

    def _all_seen(self, real: Size, lengths: Size) -> bool:
        """Tell whether every key of every window is there, whatever the size of the input."""
        padding = [length - n for n, length in zip(real, lengths, strict=True)]
        beyond = [f - 1 for focal in self.pattern.levels for f in focal]
        return known_zero(*padding, *self.pattern.margin, *beyond)

    def position_bias(self, spatial: Size, found: list[Keys]) -> Tensor:
        """Return what is added to the scores of every window."""
        del spatial, found
        return self.bias()


class NearestAttention(_GatheringAttention):
    """Multi-head attention to the tokens and pooled windows nearest to the window's middle.

    Args:
        dim: channels.
        num_heads: attention heads; divides ``dim``.
        pattern: who sees whom.
        qkv_bias: queries, keys and values have a bias.
        attn_drop: probability of dropping an attention weight.
        proj_drop: probability of dropping an output value.
    Source: the second version ("fast") of the official Focal Transformer.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        pattern: Nearest,
        *,
        qkv_bias: bool = True,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__(
            dim, num_heads, pattern.window, 1,
            qkv_bias=qkv_bias, attn_drop=attn_drop, proj_drop=proj_drop,
        )  # fmt: skip
        self.pattern = pattern
        self.bias = CoordinateBias(len(pattern.window), num_heads, dim // num_heads, 2)

    def keys(
        self, spatial: Size, lengths: Size, device: torch.device
    ) -> tuple[list[Keys], Region | None]:
        """Return the places that each window gathers, grid by grid; all of them are seen."""
        windows = [length // m for length, m in zip(lengths, self.window, strict=True)]
        tokens = nearest(self._middles(spatial, windows, device), spatial, self.pattern.count)
        middles = [torch.arange(count, device=device) for count in windows]
        found = [_renumbered(tokens, spatial, lengths)]
        return [*found, nearest(middles, windows, self.pattern.count)], None

    def _middles(self, spatial: Size, windows: list[int], device: torch.device) -> list[Tensor]:
        lines = []
        for n, count, m in zip(spatial, windows, self.window, strict=True):
            last = torch.zeros((), dtype=torch.int64, device=device) + (n - 1)
            lines.append((torch.arange(count, device=device) * m + m // 2).minimum(last))
        return lines

    def position_bias(self, spatial: Size, found: list[Keys]) -> Tensor:
        """Return what is added to the scores of each window: a function of true offsets.

        From a query to a token, and from a query to the middle of a pooled window.
        """
        device = found[0].places.device
        lengths = padded_lengths(spatial, self.window)
        windows = [length // m for length, m in zip(lengths, self.window, strict=True)]
        own_cell = _mesh([torch.arange(count, device=device) for count in windows])
        places = [torch.arange(m, device=device) - m // 2 for m in self.window]
        queries = _mesh(places)
        tokens, coarse = (
            _unravelled(found[0].places, lengths),
            _unravelled(found[1].places, windows),
        )
        keys, cell_keys = [], []
        for token, cell, mine, m in zip(tokens, coarse, own_cell, self.window, strict=True):
            keys.append(token - (mine * m + m // 2)[:, None])
            cell_keys.append((cell - mine[:, None]) * m)
        count, size = self.pattern.count, self.window
        near = nearest_reach(spatial, count)
        far = nearest_reach(windows, count)
        # A middle that was moved onto the map is at most a window away from a query.
        bounds = tuple(r + m for r, m in zip(near, size, strict=True))
        wide = tuple((r + 1) * m for r, m in zip(far, size, strict=True))
        parts = self.bias(0, queries, keys, bounds), self.bias(1, queries, cell_keys, wide)
        return torch.cat(parts, dim=-1)


def _mesh(lines: list[Tensor]) -> list[Tensor]:
    """Return each axis' value at every place of the grid that ``lines`` span, flattened."""
    return [part.flatten() for part in torch.meshgrid(*lines, indexing="ij")]


def _unravelled(index: Tensor, lengths: Size | list[int]) -> list[Tensor]:
    """Return the place along each axis that a row-major number stands for."""
    places: list[Tensor] = []
    for n in reversed(lengths):
        # A length that is a tensor: ONNX has no remainder of a symbolic number.
        length = index.new_zeros(()) + n
        places.insert(0, index % length)
        index = index // length
    return places


def _unpadded(places: Tensor, lengths: Size, spatial: Size) -> Tensor:
    """Number places of the padded grid as the grid does; -1 for padding."""
    index, padded = torch.zeros_like(places), torch.zeros_like(places, dtype=torch.bool)
    for place, n in zip(_unravelled(places, lengths), spatial, strict=True):
        index = index * n + place
        padded = padded | (place >= n)
    return index.masked_fill(padded, -1)


def _renumbered(keys: Keys, spatial: Size, lengths: Size) -> Keys:
    """Number places of a grid as the padded grid does."""
    index = torch.zeros_like(keys.places)
    for place, length in zip(_unravelled(keys.places, spatial), lengths, strict=True):
        index = index * length + place
    return Keys(index, keys.seen)
