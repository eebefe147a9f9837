"""The C++ kernel's two functions on tensors."""

import ctypes
import functools
from collections.abc import Sequence
from ctypes import c_float, c_int32, c_int64, c_void_p

import torch
from jaxtyping import Float
from torch import Tensor

from vitrail.attention.call import Gradients, KernelCall
from vitrail.attention.cpp import build
from vitrail.attention.problem import Problem
from vitrail.errors import UsageError

KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
Steps = c_int64 * 4


class CallRecord(ctypes.Structure):
    """``Call`` of call.h: the same fields in the same order."""

    _fields_ = (
        *((name, c_int64) for name in (
            "batch", "tokens", "cells", "groups", "heads", "head_dim", "queries", "keys", "threads",
        )),
        ("kind", c_int32), ("bias_kind", c_int32), ("scale", c_float), ("mask_value", c_float),
        ("qkv", c_void_p), ("qkv_step", Steps), ("pooled", c_void_p), ("pooled_step", Steps),
        ("q_index", c_void_p), ("k_index", c_void_p),
        ("q_region", c_void_p), ("k_region", c_void_p),
        ("bias", c_void_p), ("bias_step", Steps), ("logit_scale", c_void_p),
        ("padding_kv", c_void_p),
        ("terms", c_void_p), ("key_terms", c_void_p), ("term_count", c_int64),
        ("term_axes", c_int64),
        ("out", c_void_p), ("lse", c_void_p),
        ("grad_out", c_void_p), ("d_qkv", c_void_p), ("d_pooled", c_void_p),
        ("d_bias", c_void_p), ("d_logit_scale", c_void_p), ("d_padding_kv", c_void_p),
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
    if problem.query_bias and problem.gradients:
        return "a bias that depends on the query: the C++ kernel has its forward pass alone"
    return None  # without a compiler, building says so: the choice is about the problem alone


def forward(
    call: KernelCall,
) -> tuple[Float[Tensor, "batch tokens dim"], Float[Tensor, "batch groups heads queries"]]:
    """Return what ``plain.forward`` returns; the logarithm is 0 where there is no query.

    Raises:
        UsageError: an index beyond the tokens, or no compiler to build the kernel with.
    """
    batch, tokens, _, heads, head_dim = call.qkv.shape
    groups, queries = call.q_index.shape
    out = call.qkv.new_empty(batch, tokens, heads * head_dim)
    lse = call.qkv.new_zeros(batch, groups, heads, queries, dtype=torch.float32)
    if out.numel() == 0:
        return out, lse
    record, held = _describe(call)
    record.out, record.lse = out.data_ptr(), lse.data_ptr()
    _check(_functions()[0](ctypes.byref(record)), tokens)
    del held  # it kept alive what the call reads
    return out, lse


def backward(
    call: KernelCall,
    grad_out: Float[Tensor, "batch tokens dim"],
    out: Float[Tensor, "batch tokens dim"],
    lse: Float[Tensor, "batch groups heads queries"],
    needs: Sequence[bool],
) -> Gradients:
    """Return what ``plain.backward`` returns.

    The same numbers come out whenever it runs with as many threads.
    """
    record, held = _describe(call)
    qkv, pooled, bias = call.qkv, call.pooled, call.bias
    d_qkv = torch.empty(qkv.shape, dtype=qkv.dtype)
    d_pooled = None if pooled is None else torch.zeros(pooled.shape, dtype=pooled.dtype)
    d_bias = None if bias is None else torch.zeros(bias.shape, dtype=torch.float32)
    # These are added up whether or not they are there.
    d_logit_scale = torch.zeros(qkv.shape[3], dtype=torch.float32)
    d_padding_kv = torch.zeros(qkv.shape[2:], dtype=torch.float32)
    found = (d_qkv, d_pooled, d_bias, d_logit_scale, d_padding_kv)
    if grad_out.numel() == 0:
        return call.gradients(found, needs)
    record.d_qkv, record.d_pooled, record.d_bias, record.d_logit_scale, record.d_padding_kv = (
        None if x is None else x.data_ptr() for x in found
    )
    grad_out, out, lse = grad_out.contiguous(), out.contiguous(), lse.contiguous()
    record.grad_out, record.out, record.lse = grad_out.data_ptr(), out.data_ptr(), lse.data_ptr()
    record.unique_keys, record.wants_bias = call.unique_keys, bias is not None and needs[2]
    _check(_functions()[1](ctypes.byref(record)), qkv.shape[1])
    del held
    return call.gradients(found, needs)


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


def _describe(call: KernelCall) -> tuple[CallRecord, list[Tensor]]:
    """Return the call as the kernel reads it, and the tensors whose memory it names."""
    held: list[Tensor] = []

    def keep(x: Tensor) -> int:
        held.append(x)
        return x.data_ptr()

    def rows(x: Tensor) -> Tensor:
        return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()

    qkv, (groups, queries) = rows(call.qkv), call.q_index.shape
    record = CallRecord(
        batch=qkv.shape[0], tokens=qkv.shape[1], heads=qkv.shape[3], head_dim=qkv.shape[4],
        groups=groups, queries=queries, keys=call.k_index.shape[1],
        threads=torch.get_num_threads(), kind=KINDS[qkv.dtype], scale=call.scale,
        mask_value=call.mask_value, qkv=keep(qkv), qkv_step=Steps(*qkv.stride()[:4]),
    )  # fmt: skip
    if call.pooled is not None:
        pooled = rows(call.pooled.to(qkv.dtype))
        record.cells, record.pooled = pooled.shape[1], keep(pooled)
        record.pooled_step = Steps(*pooled.stride()[:4])
    for name in ("q_index", "k_index", "q_region", "k_region"):
        index = getattr(call, name)
        if index is not None:
            setattr(record, name, keep(index.to(torch.int32).contiguous()))
    if call.bias is not None:
        bias = call.bias if call.bias.dtype in KINDS else call.bias.float()
        steps = [0 if bias.shape[0] == 1 else bias.stride(0), *bias.stride()[1:]]
        record.bias, record.bias_kind = keep(bias), KINDS[bias.dtype]
        record.bias_step = Steps(*steps)
    if call.logit_scale is not None:
        record.logit_scale = keep(call.logit_scale.float().contiguous())
    if call.padding_kv is not None:
        record.padding_kv = keep(call.padding_kv.to(qkv.dtype).contiguous())
    if call.terms is not None and call.key_terms is not None:
        record.terms = keep(call.terms.float().contiguous())
        record.key_terms = keep(call.key_terms.to(torch.int32).contiguous())
        record.term_axes, record.term_count = len(call.key_terms), call.terms.shape[-1]
    return record, held
