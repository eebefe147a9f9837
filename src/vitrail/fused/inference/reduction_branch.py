"""The C++ kernel of a branch that attends to a coarser grid."""

import ctypes
import math
from collections.abc import Sequence
from ctypes import c_int64, c_void_p

import torch
from torch import Tensor

from vitrail.attention.cpp import build
from vitrail.attention.cpp.kernel import KINDS, CallRecord, Steps
from vitrail.attention.operation import operation
from vitrail.fused.inference.linear import Packed, describe, linear_functions
from vitrail.fused.support import source

SOURCE = source("reduction_branch")


class _Reduction(ctypes.Structure):
    """``Reduction`` of reduction_branch.cpp: the same fields in the same order."""

    _fields_ = (
        ("batch", c_int64), ("length", c_int64 * 3), ("cell", c_int64 * 3), ("threads", c_int64),
        *((name, c_void_p) for name in ("x", "y", "cut", "grid", "kv")),
        ("attention", CallRecord),
    )  # fmt: skip


@operation("vitrail::packed_reduction")
def packed_reduction(
    x: Tensor,
    numbers: Sequence[Tensor | None],
    eps: Sequence[float],
    reduction: Sequence[int],
    heads: int,
    scale: float,
) -> Tensor:
    """Return ``x + proj(attention(q(norm(x)), kv(grid)))``, where every token sees the whole grid.

    The grid is ``norm(x)``, or what a convolution makes of it whose kernel and stride are
    ``reduction``: at most three axes, none of them longer than the map's; tokens that fill no cell
    are not seen.
    ``x`` is channels-last.

    ``numbers`` are those of q, kv and proj, as ``Packed`` orders them, and of the convolution if
    there is one; ``eps`` those of their norms. That of q is the branch's, that of kv the grid's.
    """
    x = x.contiguous()
    y = torch.empty_like(x)
    if not y.numel():
        return y
    batch, *spatial, dim = x.shape
    q, kv, proj, *convolution = (
        Packed(*numbers[i : i + 4])  # type: ignore[arg-type]
        for i in range(0, len(numbers), 4)
    )
    cells, cut, grid, sr = math.prod(spatial), None, None, None
    if convolution:
        size = math.prod(reduction)
        cells = math.prod(n // k for n, k in zip(spatial, reduction, strict=True))
        cut, grid = x.new_empty(batch, cells, size, dim), x.new_empty(batch, cells, dim)
        sr = describe(convolution[0], size * dim, dim, x.dtype)
    seen = x.new_empty(batch, cells, 2 * dim)
    head_dim = dim // heads
    attention = CallRecord(
        batch=1, cells=cells, groups=1, heads=heads, head_dim=head_dim, keys=cells, threads=1,
        kind=KINDS[x.dtype], scale=scale, mask_value=-math.inf,
        qkv_step=Steps(0, dim, 0, head_dim), pooled_step=Steps(0, 2 * dim, dim, head_dim),
    )  # fmt: skip
    whole = c_int64 * 3
    call = _Reduction(
        batch=batch, threads=torch.get_num_threads(), x=x.data_ptr(), y=y.data_ptr(),
        length=whole(*(1, 1, *spatial)[-3:]) if convolution else whole(1, 1, cells),
        cell=whole(*(1, 1, *reduction)[-3:]), kv=seen.data_ptr(), attention=attention,
    )  # fmt: skip
    if cut is not None and grid is not None:
        call.cut, call.grid = cut.data_ptr(), grid.data_ptr()
    functions = linear_functions()
    parts = (
        call, describe(q, dim, dim, x.dtype, eps=eps[0]), sr,
        describe(kv, dim, 2 * dim, x.dtype, eps=eps[1]), describe(proj, dim, dim, x.dtype),
    )  # fmt: skip
    build.library(SOURCE).vitrail_reduction(
        *(None if part is None else ctypes.byref(part) for part in parts),
        functions.linear, functions.norm, build.library().vitrail_forward,
    )  # fmt: skip
    return y


@packed_reduction.register_fake
def _(x: Tensor, *rest: object) -> Tensor:
    del rest
    return x.new_empty(x.shape)
