"""The C++ kernels' operations: linear layers, norms, perceptrons with and without convolution."""

import ctypes
import functools
import math
from collections.abc import Callable
from ctypes import c_float, c_int32, c_int64, c_void_p
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from vitrail.attention.cpp import build
from vitrail.attention.cpp.kernel import KINDS
from vitrail.attention.operation import operation
from vitrail.errors import UsageError
from vitrail.fused.support import source, why_not

LINEAR, DEPTHWISE = source("linear"), source("depthwise_mlp")


class Packed(NamedTuple):
    """A linear layer's numbers as the kernel reads them.

    Args:
        weight: panels of outputs; in each, step by step along the inputs, a word for each output.
        bias: of every output, zeros up to whole panels.
        norm_weight: of the layer norm that goes with it, or None where there is none.
        norm_bias: likewise.
    """

    weight: Shaped[Tensor, "panels steps columns word"]
    bias: Float[Tensor, " padded"]
    norm_weight: Float[Tensor, " inputs"] | None
    norm_bias: Float[Tensor, " inputs"] | None


class LinearRecord(ctypes.Structure):
    """``Linear`` of linear.h: the same fields in the same order."""

    _fields_ = (
        *((name, c_int64) for name in ("rows", "inputs", "outputs", "columns")),
        ("x", c_void_p), ("x_step", c_int64),
        ("norm_weight", c_void_p), ("norm_bias", c_void_p),
        ("weight", c_void_p), ("bias", c_void_p),
        ("add", c_void_p), ("add_step", c_int64),
        ("y", c_void_p), ("y_step", c_int64),
        ("threads", c_int64), ("eps", c_float), ("kind", c_int32), ("gelu", c_int32),
    )  # fmt: skip


class _Depthwise(ctypes.Structure):
    """``Depthwise`` of depthwise_mlp.cpp: the same fields in the same order."""

    _fields_ = (
        ("batch", c_int64), ("length", c_int64 * 3), ("threads", c_int64), ("padded", c_int64),
        ("weight", c_void_p), ("bias", c_void_p), ("relu", c_int32),
    )  # fmt: skip


def pack(
    weight: Float[Tensor, "outputs inputs"], bias: Float[Tensor, " outputs"] | None
) -> tuple[Shaped[Tensor, "panels steps columns word"], Float[Tensor, " padded"]]:
    """Return a linear layer's weight and bias in the order in which the kernel reads them.

    Args:
        weight: of the layer, in the type of the numbers that it will get.
        bias: of the layer; zeros where there is none.
    Raises:
        UsageError: a type or a device that the kernel does not serve, or no compiler.
    """
    reason = why_not(weight.dtype, weight.device.type)
    if reason is not None:
        raise UsageError(
            f"a packed linear layer of {weight.dtype} on {weight.device.type}: {reason}",
            "float32, bfloat16 or float16 on the CPU, and a C++ compiler",
            "leave the layer as it is",
        )
    outputs, inputs = weight.shape
    columns, per = packing(weight.dtype, outputs)
    weight = weight.detach()
    padded, steps = math.ceil(outputs / columns) * columns, math.ceil(inputs / per)
    whole = weight.new_zeros(padded, steps * per)
    whole[:outputs, :inputs] = weight
    # A word holds one float, or two bfloats; without instructions for pairs, all are floats.
    whole = whole if per == 2 else whole.float()
    panels = whole.view(-1, columns, steps, per).permute(0, 2, 1, 3).contiguous()
    padding = weight.new_zeros(padded, dtype=torch.float32)
    if bias is not None:
        padding[:outputs] = bias.detach()
    return panels, padding


@operation("vitrail::packed_linear")
def packed_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    norm_weight: Tensor | None,
    norm_bias: Tensor | None,
    add: Tensor | None,
    outputs: int,
    eps: float,
    gelu: bool,
) -> Tensor:
    """Return ``gelu?(linear(norm?(x))) + add?``, computed in one pass over ``x``."""
    y = x.new_empty(*x.shape[:-1], outputs)
    if y.numel():
        x = x.contiguous()
        packed = Packed(weight, bias, norm_weight, norm_bias)
        add = None if add is None else add.contiguous()
        layer = describe(packed, x.shape[-1], outputs, x.dtype, eps=eps, gelu=gelu)
        linear_functions().linear(ctypes.byref(_between(layer, x, y, add)))
    return y


@packed_linear.register_fake
def _(
    x: Tensor, weight: Tensor, bias: Tensor, norm_weight: Tensor | None, norm_bias: Tensor | None,
    add: Tensor | None, outputs: int, eps: float, gelu: bool,
) -> Tensor:  # fmt: skip
    del weight, bias, norm_weight, norm_bias, add, eps, gelu
    return x.new_empty(*x.shape[:-1], outputs)


@operation("vitrail::packed_norm")
def packed_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float, add: Tensor | None) -> Tensor:
    """Return the layer norm of ``x`` over its last axis, plus ``add``."""
    x = x.contiguous()
    y = torch.empty_like(x)
    if y.numel():
        channels = x.shape[-1]
        record = LinearRecord(
            inputs=channels, x_step=channels, y_step=channels, add_step=channels,
            norm_weight=weight.data_ptr(), norm_bias=bias.data_ptr(),
            threads=torch.get_num_threads(), eps=eps, kind=KINDS[x.dtype],
        )  # fmt: skip
        add = None if add is None else add.contiguous()
        linear_functions().norm(ctypes.byref(_between(record, x, y, add)))
    return y


@packed_norm.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor, eps: float, add: Tensor | None) -> Tensor:
    del weight, bias, eps, add
    return x.new_empty(x.shape)


@operation("vitrail::packed_perceptron")
def packed_perceptron(
    x: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    norm_weight: Tensor | None,
    norm_bias: Tensor | None,
    hidden: int,
    eps: float,
    residual: bool,
) -> Tensor:
    """Return ``linear2(gelu(linear1(norm?(x)))) + x?``; hidden channels stay in the cache."""
    x = x.contiguous()
    y = torch.empty_like(x)
    if y.numel():
        packed = Packed(weight1, bias1, norm_weight, norm_bias), Packed(weight2, bias2, None, None)
        first = describe(packed[0], x.shape[-1], hidden, x.dtype, eps=eps, gelu=True)
        second = describe(packed[1], hidden, x.shape[-1], x.dtype)
        _between(first, x, y, None)
        _between(second, x, y, x if residual else None)
        linear_functions().perceptron(ctypes.byref(first), ctypes.byref(second))
    return y


@packed_perceptron.register_fake
def _(
    x: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor,
    norm_weight: Tensor | None, norm_bias: Tensor | None, hidden: int, eps: float, residual: bool,
) -> Tensor:  # fmt: skip
    del weight1, bias1, weight2, bias2, norm_weight, norm_bias, hidden, eps, residual
    return x.new_empty(x.shape)


@operation("vitrail::packed_depthwise")
def packed_depthwise(
    x: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    taps: Tensor,
    bias: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    norm_weight: Tensor | None,
    norm_bias: Tensor | None,
    hidden: int,
    eps: float,
    relu: bool,
) -> Tensor:
    """Return ``linear2(gelu(convolution(relu?(linear1(norm?(x)))))) + x``.

    The convolution is of each hidden channel on its own. ``x`` is channels-last, ``taps``
    ``(27, channels)``: three along each of three axes, the first of which ``x`` may lack; zeros
    lie beyond the border. ``bias`` and ``taps`` are padded with zeros to a multiple of 16 channels.
    """
    x = x.contiguous()
    y = torch.empty_like(x)
    if y.numel():
        packed = Packed(weight1, bias1, norm_weight, norm_bias), Packed(weight2, bias2, None, None)
        first = describe(packed[0], x.shape[-1], hidden, x.dtype, eps=eps)
        second = describe(packed[1], hidden, x.shape[-1], x.dtype)
        _between(first, x, y, None)
        _between(second, x, y, x)
        call = _Depthwise(
            batch=x.shape[0], length=(c_int64 * 3)(*(1, 1, *x.shape[1:-1])[-3:]),
            threads=torch.get_num_threads(), padded=taps.shape[1], weight=taps.data_ptr(),
            bias=bias.data_ptr(), relu=relu,
        )  # fmt: skip
        build.library(DEPTHWISE).vitrail_depthwise(
            *(ctypes.byref(part) for part in (call, first, second)), linear_functions().linear
        )
    return y


@packed_depthwise.register_fake
def _(
    x: Tensor, weight1: Tensor, bias1: Tensor, taps: Tensor, bias: Tensor, weight2: Tensor,
    bias2: Tensor, norm_weight: Tensor | None, norm_bias: Tensor | None, hidden: int, eps: float,
    relu: bool,
) -> Tensor:  # fmt: skip
    del weight1, bias1, taps, bias, weight2, bias2, norm_weight, norm_bias, hidden, eps, relu
    return x.new_empty(x.shape)


class Functions(NamedTuple):
    """What the linear layers' library does."""

    linear: Callable[..., None]
    perceptron: Callable[..., None]
    norm: Callable[..., None]
    packing: Callable[..., int]


@functools.cache
def linear_functions() -> Functions:
    """Return the functions of the linear layers' library."""
    library = build.library(LINEAR)
    library.vitrail_packing.restype = c_int64
    return Functions(
        library.vitrail_linear, library.vitrail_perceptron, library.vitrail_norm,
        library.vitrail_packing,
    )  # fmt: skip


def packing(dtype: torch.dtype, outputs: int) -> tuple[int, int]:
    """Return how many outputs a panel has on this processor, and how many numbers a word."""
    columns, kind = c_int64(), c_int32(KINDS[dtype])
    per = linear_functions().packing(kind, c_int64(outputs), ctypes.byref(columns))
    return columns.value, per


def describe(
    packed: Packed,
    inputs: int,
    outputs: int,
    dtype: torch.dtype,
    *,
    eps: float = 0.0,
    gelu: bool = False,
) -> LinearRecord:
    """Return a linear layer as the kernel reads it, without the tensors that go through it.

    Rows of those lie one behind the other.
    """
    return LinearRecord(
        inputs=inputs, outputs=outputs, columns=packed.weight.shape[2],
        x_step=inputs, y_step=outputs, add_step=outputs,
        norm_weight=None if packed.norm_weight is None else packed.norm_weight.data_ptr(),
        norm_bias=None if packed.norm_bias is None else packed.norm_bias.data_ptr(),
        weight=packed.weight.data_ptr(), bias=packed.bias.data_ptr(),
        threads=torch.get_num_threads(), eps=eps, kind=KINDS[dtype], gelu=gelu,
    )  # fmt: skip


def _between(record: LinearRecord, x: Tensor, y: Tensor, add: Tensor | None) -> LinearRecord:
    """Say what goes in and out, and what is added; all are contiguous."""
    record.rows = x.numel() // x.shape[-1]
    record.x, record.y = x.data_ptr(), y.data_ptr()
    record.add = None if add is None else add.data_ptr()
    return record
