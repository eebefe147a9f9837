"""The C++ kernel of a whole block, a few groups at a time."""

import ctypes
import math
from collections.abc import Sequence
from ctypes import c_int64, c_void_p
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from vitrail.attention.cpp import build
from vitrail.attention.cpp.kernel import KINDS, CallRecord, Steps
from vitrail.attention.operation import operation
from vitrail.fused.inference.linear import Packed, describe, linear_functions
from vitrail.fused.support import source
from vitrail.patterns import Groups

SOURCE = source("window_block")
CACHE = 384 << 10  # bytes of a tile's tokens, a good third of a core's own cache
FEWEST = 192  # rows that make good use of weights beyond that cache
PER_TILE = 0.25  # what a tile costs besides its groups, in groups


@dataclass(frozen=True, slots=True)
class WindowTiles:
    """Groups of a batch, some at a time.

    Args:
        rows: tokens of each tile, counted through the batch.
        count: how many there are.
        index: row of its tile of each place of each group, -1 for a place without a token.
        region: label of each place, or None.
        together: groups of a tile.
    """

    rows: Int[Tensor, "tiles most"]
    count: Int[Tensor, " tiles"]
    index: Int[Tensor, "groups places"]
    region: Int[Tensor, "groups places"] | None
    together: int

    def tensors(self) -> list[Tensor]:
        """Return what ``packed_block`` takes as its places."""
        found = [self.rows, self.count, self.index]
        return found if self.region is None else [*found, self.region]


def tiles(
    groups: Groups, batch: int, tokens: int, row_bytes: int, threads: int
) -> WindowTiles | None:
    """Cut the groups of a batch into tiles that fill a core's own cache.

    Args:
        groups: closed: queries are keys.
        batch: members of the batch.
        tokens: of each.
        row_bytes: of a token's channels.
        threads: among which tiles are shared out.
    Returns:
        The tiles; None where there are fewer groups than threads.
    """
    once, width = groups.q_index.shape
    windows = batch * once
    if windows < threads:
        return None
    most = max(1, round(max(FEWEST, CACHE / (5 * row_bytes)) / width))

    def time(length: int) -> float:  # of the thread that has most tiles of this length
        return math.ceil(math.ceil(windows / length) / threads) * (length + PER_TILE)

    together = min(range(most, 0, -1), key=time)
    count = math.ceil(windows / together)
    index = groups.q_index.long()
    start = torch.arange(batch, device=index.device).view(-1, 1, 1) * tokens
    token = torch.where(index < 0, -1, index + start).view(windows, width)
    beyond = token.new_full((count * together - windows, width), -1)
    by_tile = torch.cat([token, beyond]).view(count, together * width)
    there = by_tile >= 0
    local = torch.where(there, there.cumsum(1) - 1, -1).view(-1, width)[:windows]
    found = there.sum(1)
    rows = by_tile.new_zeros(count, int(found.max()))
    rows[torch.arange(rows.shape[1], device=rows.device) < found[:, None]] = by_tile[there]
    region = groups.q_region
    return WindowTiles(
        rows.int(), found.int(), local.int().contiguous(),
        None if region is None else region.int().repeat(batch, 1), together,
    )  # fmt: skip


def build_for_blocks() -> None:
    """Build the kernel, unless it is.

    Raises:
        UsageError: the compiler or the cache's folder does not take it.
    """
    build.library(SOURCE)


class _Block(ctypes.Structure):
    """``Block`` of window_block.cpp: the same fields in the same order."""

    _fields_ = (
        *((name, c_int64) for name in ("tiles", "groups", "together", "most", "threads")),
        *((name, c_void_p) for name in ("rows", "count", "x", "y")),
        ("attention", CallRecord),
    )  # fmt: skip


@operation("vitrail::packed_block")
def packed_block(
    x: Tensor,
    numbers: Sequence[Tensor | None],
    eps: Sequence[float],
    places: Sequence[Tensor],
    together: int,
    bias: Tensor | None,
    logit_scale: Tensor | None,
    padding_kv: Tensor | None,
    hidden: int,
    heads: int,
    scale: float,
    mask_value: float,
) -> Tensor:
    """Return what a block returns whose groups are closed.

    ``numbers`` are those of qkv, proj, fc1 and fc2, as ``Packed`` orders them, and ``eps`` those of
    their norms: before qkv and fc1 of what goes in, after proj and fc2 of what comes out.
    ``tiles`` and ``together`` are those of ``WindowTiles``; ``bias`` is ``(heads, queries,
    keys)``, ``logit_scale`` ``(heads)``, ``padding_kv`` ``(3, heads, head_dim)``.
    """
    x = x.contiguous()
    y = torch.empty_like(x)
    dim = x.shape[-1]
    qkv, proj, fc1, fc2 = (Packed(*numbers[i : i + 4]) for i in range(0, 16, 4))  # type: ignore[arg-type]
    rows, count, index, *region = places
    attention = CallRecord(
        batch=1, heads=heads, head_dim=dim // heads, queries=index.shape[1], keys=index.shape[1],
        threads=1, kind=KINDS[x.dtype], scale=scale, mask_value=mask_value,
        qkv_step=Steps(0, 3 * dim, dim, dim // heads), q_index=index.data_ptr(),
    )  # fmt: skip
    if region:
        attention.q_region = region[0].data_ptr()
    if bias is not None:
        attention.bias, attention.bias_kind = bias.data_ptr(), KINDS[bias.dtype]
        attention.bias_step = Steps(0, *bias.stride())
    if logit_scale is not None:
        logit_scale = logit_scale.float().contiguous()
        attention.logit_scale = logit_scale.data_ptr()
    if padding_kv is not None:
        padding_kv = padding_kv.to(x.dtype).contiguous()
        attention.padding_kv = padding_kv.data_ptr()
    call = _Block(
        tiles=len(rows), groups=len(index), together=together, most=rows.shape[1],
        threads=torch.get_num_threads(), rows=rows.data_ptr(), count=count.data_ptr(),
        x=x.data_ptr(), y=y.data_ptr(), attention=attention,
    )  # fmt: skip
    layers = (
        describe(qkv, dim, 3 * dim, x.dtype, eps=eps[0]),
        describe(proj, dim, dim, x.dtype, eps=eps[1]),
        describe(fc1, dim, hidden, x.dtype, eps=eps[2], gelu=True),
        describe(fc2, hidden, dim, x.dtype, eps=eps[3]),
    )
    for layer in layers:
        layer.threads = 1  # a tile each
    if len(x):
        functions = linear_functions()
        build.library(SOURCE).vitrail_block(
            *(ctypes.byref(part) for part in (call, *layers)),
            functions.linear, functions.perceptron, functions.norm, build.library().vitrail_forward,
        )  # fmt: skip
    return y


@packed_block.register_fake
def _(x: Tensor, *rest: object) -> Tensor:
    del rest
    return x.new_empty(x.shape)
