"""The C++ kernel's two functions on tensors."""

import ctypes
import functools
from ctypes import c_float, c_int32, c_int64, c_void_p

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitrail.attention.cpp import build
from vitrail.attention.problem import Problem
from vitrail.errors import UsageError

KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
_Steps = c_int64 * 4


class _Call(ctypes.Structure):
    """``Call`` of grouped.cpp: the same fields in the same order."""

    _fields_ = (
        *((name, c_int64) for name in (
            "batch", "tokens", "cells", "groups", "heads", "head_dim", "queries", "keys", "threads",
        )),
        ("kind", c_int32), ("bias_kind", c_int32), ("scale", c_float), ("mask_value", c_float),
        ("qkv", c_void_p), ("qkv_step", _Steps), ("pooled", c_void_p), ("pooled_step", _Steps),
        ("q_index", c_void_p), ("k_index", c_void_p),
        ("q_region", c_void_p), ("k_region", c_void_p),
        ("bias", c_void_p), ("bias_step", _Steps), ("temperature", c_void_p), ("fill", c_void_p),
        ("out", c_void_p), ("lse", c_void_p),
    )  # fmt: skip


def why_not(problem: Problem) -> str | None:
    """Return why the C++ kernel cannot serve ``problem``, or None if it can."""
    if problem.device != "cpu":
        return f"{problem.device}: the C++ kernel is for the CPU"
    if problem.dtype not in KINDS:
        return f"{problem.dtype}: the C++ kernel takes float32, bfloat16 and float16"
    if problem.dropout > 0:
        return "dropout of attention weights: the C++ kernel has none"
    return None if _functions.cache_info().currsize else build.why_not()


def forward(
    qkv: Float[Tensor, "batch tokens 3 heads head_dim"],
    pooled: Float[Tensor, "batch cells 2 heads head_dim"] | None,
    q_index: Int[Tensor, "groups queries"],
    k_index: Int[Tensor, "groups keys"],
    q_region: Int[Tensor, "groups queries"] | None,
    k_region: Int[Tensor, "groups keys"] | None,
    bias: Float[Tensor, "#groups heads queries keys"] | None,
    temperature: Float[Tensor, " heads"] | None,
    fill: Float[Tensor, "3 heads head_dim"] | None,
    scale: float,
    mask_value: float,
) -> tuple[Float[Tensor, "batch tokens dim"], Float[Tensor, "batch groups heads queries"]]:
    """Attend by groups; see ``vitrail.attention.grouped.attend_groups`` for the arguments.

    Returns:
        The result, and the logarithm of each query's sum of exponentials (0 where there is none).
    Raises:
        UsageError: an index beyond the tokens, or no compiler to build the kernel with.
    """
    batch, tokens, _, heads, head_dim = qkv.shape
    out = qkv.new_empty(batch, tokens, heads * head_dim)
    lse = qkv.new_zeros(batch, *q_index.shape[:1], heads, q_index.shape[1], dtype=torch.float32)
    call, held = _describe(
        qkv,
        pooled,
        q_index,
        k_index,
        q_region,
        k_region,
        bias,
        temperature,
        fill,
        scale,
        mask_value,
    )
    call.out, call.lse = out.data_ptr(), lse.data_ptr()
    _check(_functions()[0](ctypes.byref(call)), tokens)
    del held  # it kept alive what the call reads
    return out, lse


@functools.cache
def _functions() -> tuple:
    """Return the library's functions."""
    library = build.library()
    return (library.vitrail_forward,)


def _check(status: int, tokens: int) -> None:
    if status != 0:
        raise UsageError(
            "an index of q_index or k_index",
            f"-1 to the number of tokens ({tokens}; keys: and of pooled cells)",
            "make the places from the same grid as qkv",
        )


def _describe(
    qkv: Tensor, pooled: Tensor | None, q_index: Tensor, k_index: Tensor,
    q_region: Tensor | None, k_region: Tensor | None, bias: Tensor | None,
    temperature: Tensor | None, fill: Tensor | None, scale: float, mask_value: float,
) -> tuple[_Call, list[Tensor]]:  # fmt: skip
    """Return the call for the kernel, and the tensors whose memory it names."""
    held: list[Tensor] = []

    def keep(x: Tensor) -> int:
        held.append(x)
        return x.data_ptr()

    def rows(x: Tensor) -> Tensor:
        return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()

    qkv = rows(qkv)
    call = _Call(
        batch=qkv.shape[0], tokens=qkv.shape[1], heads=qkv.shape[3], head_dim=qkv.shape[4],
        groups=q_index.shape[0], queries=q_index.shape[1], keys=k_index.shape[1],
        threads=torch.get_num_threads(), kind=KINDS[qkv.dtype], scale=scale, mask_value=mask_value,
        qkv=keep(qkv), qkv_step=_Steps(*qkv.stride()[:4]),
    )  # fmt: skip
    if pooled is not None:
        pooled = rows(pooled.to(qkv.dtype))
        call.cells, call.pooled = pooled.shape[1], keep(pooled)
        call.pooled_step = _Steps(*pooled.stride()[:4])
    indices = {
        "q_index": q_index, "k_index": k_index, "q_region": q_region, "k_region": k_region,
    }  # fmt: skip
    for name, index in indices.items():
        if index is not None:
            setattr(call, name, keep(index.to(torch.int32).contiguous()))
    if bias is not None:
        bias = bias if bias.dtype in KINDS else bias.float()
        steps = [0 if bias.shape[0] == 1 else bias.stride(0), *bias.stride()[1:]]
        call.bias, call.bias_kind, call.bias_step = keep(bias), KINDS[bias.dtype], _Steps(*steps)
    if temperature is not None:
        call.temperature = keep(temperature.float().contiguous())
    if fill is not None:
        call.fill = keep(fill.to(qkv.dtype).contiguous())
    return call, held
