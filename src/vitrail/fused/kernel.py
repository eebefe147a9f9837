"""The C++ kernels' operations: a linear layer, a perceptron of two, one that looks around."""

import ctypes
import functools
import math
from ctypes import c_float, c_int32, c_int64, c_void_p
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from vitrail.attention.cpp import build
from vitrail.errors import UsageError

LINEAR, DEPTHWISE = (Path(__file__).with_name(f"{name}.cpp") for name in ("linear", "depthwise"))
KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}


class Packed(NamedTuple):
    """A linear layer's numbers as the kernel reads them.

    Args:
        weight: panels of outputs; in each, step by step along the inputs, a word for each output.
        bias: of every output, zeros up to whole panels.
        norm_weight: of the layer norm before, or None where there is none.
        norm_bias: likewise.
    """

    weight: Shaped[Tensor, "panels steps columns word"]
    bias: Float[Tensor, " padded"]
    norm_weight: Float[Tensor, " inputs"] | None
    norm_bias: Float[Tensor, " inputs"] | None


class _Linear(ctypes.Structure):
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
    """``Depthwise`` of depthwise.cpp: the same fields in the same order."""

    _fields_ = (
        ("batch", c_int64), ("length", c_int64 * 3), ("threads", c_int64), ("padded", c_int64),
        ("weight", c_void_p), ("bias", c_void_p), ("relu", c_int32),
    )  # fmt: skip


def why_not(dtype: torch.dtype = torch.float32, device: str = "cpu") -> str | None:
    """Return why the kernel cannot serve on this machine, or None if it can."""
    if device != "cpu":
        return f"{device}: the C++ kernel is for the CPU"
    if dtype not in KINDS:
        return f"{dtype}: the C++ kernel takes float32, bfloat16 and float16"
    return build.why_not()


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
    columns, per = _packing(KINDS[weight.dtype], outputs)
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


@torch.library.custom_op("vitrail::packed_linear", mutates_args=())
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
        _functions()[0](ctypes.byref(_describe(packed, x, y, add, eps, gelu)))
    return y


@packed_linear.register_fake
def _(
    x: Tensor, weight: Tensor, bias: Tensor, norm_weight: Tensor | None, norm_bias: Tensor | None,
    add: Tensor | None, outputs: int, eps: float, gelu: bool,
) -> Tensor:  # fmt: skip
    del weight, bias, norm_weight, norm_bias, add, eps, gelu
    return x.new_empty(*x.shape[:-1], outputs)


@torch.library.custom_op("vitrail::packed_perceptron", mutates_args=())
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
        first = _describe(Packed(weight1, bias1, norm_weight, norm_bias), x, None, None, eps, True)
        first.outputs = hidden
        second = _describe(
            Packed(weight2, bias2, None, None), x, y, x if residual else None, eps, False
        )
        second.inputs = hidden
        _functions()[1](ctypes.byref(first), ctypes.byref(second))
    return y


@packed_perceptron.register_fake
def _(
    x: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor,
    norm_weight: Tensor | None, norm_bias: Tensor | None, hidden: int, eps: float, residual: bool,
) -> Tensor:  # fmt: skip
    del weight1, bias1, weight2, bias2, norm_weight, norm_bias, hidden, eps, residual
    return x.new_empty(x.shape)


@torch.library.custom_op("vitrail::packed_depthwise", mutates_args=())
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
        first = _describe(Packed(weight1, bias1, norm_weight, norm_bias), x, None, None, eps, False)
        first.outputs = hidden
        second = _describe(Packed(weight2, bias2, None, None), x, y, x, eps, False)
        second.inputs = hidden
        call = _Depthwise(
            batch=x.shape[0], length=(c_int64 * 3)(*(1, 1, *x.shape[1:-1])[-3:]),
            threads=torch.get_num_threads(), padded=taps.shape[1], weight=taps.data_ptr(),
            bias=bias.data_ptr(), relu=relu,
        )  # fmt: skip
        build.library(DEPTHWISE).vitrail_depthwise(
            *(ctypes.byref(part) for part in (call, first, second)), _functions()[0]
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


@functools.cache
def _functions() -> tuple:
    """Return the functions of the linear layers' library."""
    library = build.library(LINEAR)
    library.vitrail_packing.restype = c_int64
    return library.vitrail_linear, library.vitrail_perceptron, library.vitrail_packing


def _packing(kind: int, outputs: int) -> tuple[int, int]:
    """Return how many outputs a panel has, and how many numbers a word."""
    columns = c_int64()
    per = _functions()[2](c_int32(kind), c_int64(outputs), ctypes.byref(columns))
    return columns.value, per


def _describe(
    packed: Packed, x: Tensor, y: Tensor | None, add: Tensor | None, eps: float, gelu: bool
) -> _Linear:
    """Return the call for the kernel; ``x``, ``y`` and ``add`` are contiguous."""
    inputs, outputs = x.shape[-1], 0 if y is None else y.shape[-1]
    return _Linear(
        rows=x.numel() // inputs, inputs=inputs, outputs=outputs, columns=packed.weight.shape[2],
        x=x.data_ptr(), x_step=inputs,
        norm_weight=None if packed.norm_weight is None else packed.norm_weight.data_ptr(),
        norm_bias=None if packed.norm_bias is None else packed.norm_bias.data_ptr(),
        weight=packed.weight.data_ptr(), bias=packed.bias.data_ptr(),
        add=None if add is None else add.data_ptr(), add_step=outputs,
        y=None if y is None else y.data_ptr(), y_step=outputs,
        threads=torch.get_num_threads(), eps=eps, kind=KINDS[x.dtype], gelu=gelu,
    )  # fmt: skip
