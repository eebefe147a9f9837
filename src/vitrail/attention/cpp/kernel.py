"""The C++ kernel's two functions on tensors."""

import ctypes
import functools
from collections.abc import Sequence
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
        ("grad_out", c_void_p), ("d_qkv", c_void_p), ("d_pooled", c_void_p),
        ("d_bias", c_void_p), ("d_temperature", c_void_p), ("d_fill", c_void_p),
        ("unique_keys", c_int32), ("wants_bias", c_int32),
    )  # fmt: skip


def why_not(problem: Problem) -> str | None:
    """Return why the C++ kernel cannot serve ``problem``, or None if it can."""
    if problem.device != "cpu":
        return f"{problem.device}: the C++ kernel is for the CPU"
    if problem.dtype not in KINDS:
        return f"{problem.dtype}: the C++ kernel takes float32, bfloat16 and float16"
    if problem.dropout > 0:
        return "dropout of attention weights: the C++ kernel has none"
    return None  # without a compiler, building says so: the choice is about the problem alone


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


def backward(
    grad_out: Float[Tensor, "batch tokens dim"],
    out: Float[Tensor, "batch tokens dim"],
    lse: Float[Tensor, "batch groups heads queries"],
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
    unique_keys: bool,
    needs: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of ``qkv``, ``pooled``, ``bias``, ``temperature`` and ``fill``.

    The same numbers come out whenever it runs with as many threads.

    Args:
        grad_out: gradient of ``out``.
        out: what ``forward`` returned.
        lse: what ``forward`` returned.
        qkv: as ``forward`` got it, and so are the next ten.
        pooled: further keys and values.
        q_index: token of each query.
        k_index: token of each key.
        q_region: label of each query.
        k_region: label of each key.
        bias: added to the scores.
        temperature: of cosine attention.
        fill: what a key place that holds no token reads as.
        scale: multiplies ``q k^T``.
        mask_value: added to scores across labels.
        unique_keys: no key stands in two groups, so that gradients are written, not added.
        needs: which of the five are wanted; None stands for the others.
    """
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
    like = (qkv, pooled, bias, temperature, fill)
    d_qkv = torch.empty(qkv.shape, dtype=qkv.dtype)
    d_pooled = None if pooled is None else torch.zeros(pooled.shape, dtype=pooled.dtype)
    d_bias = None if bias is None else torch.zeros(bias.shape)
    # These are added up whether or not they are there.
    d_temperature, d_fill = torch.zeros(qkv.shape[3]), torch.zeros(qkv.shape[2:])
    found = (d_qkv, d_pooled, d_bias, d_temperature, d_fill)
    call.d_qkv, call.d_pooled, call.d_bias, call.d_temperature, call.d_fill = (
        None if x is None else x.data_ptr() for x in found
    )
    grad_out, out, lse = grad_out.contiguous(), out.contiguous(), lse.contiguous()
    call.grad_out, call.out, call.lse = grad_out.data_ptr(), out.data_ptr(), lse.data_ptr()
    call.unique_keys, call.wants_bias = unique_keys, bias is not None and needs[2]
    _check(_functions()[1](ctypes.byref(call)), qkv.shape[1])
    del held
    return tuple(  # type: ignore[return-value]  # five of them
        gradient.to(x.dtype) if wanted and x is not None and gradient is not None else None
        for gradient, x, wanted in zip(found, like, needs, strict=True)
    )


@functools.cache
def _functions() -> tuple:
    """Return the library's functions."""
    library = build.library()
    return (library.vitrail_forward, library.vitrail_backward)


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
