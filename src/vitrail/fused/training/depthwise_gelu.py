"""A depthwise convolution and the GELU after it, forward and backward, for a training step.

One operation each way. Kept for the backward pass is ``x`` alone: what stood before the GELU is
computed again.
"""

import ctypes
import math
from collections.abc import Sequence
from ctypes import c_int32, c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from vitrail.attention.cpp import build
from vitrail.attention.cpp.kernel import KINDS
from vitrail.errors import UsageError
from vitrail.fused.depthwise import depthwise_taps
from vitrail.fused.support import source, why_not

SOURCE = source("depthwise_gelu")


class _DepthwiseGelu(ctypes.Structure):
    """``DepthwiseGelu`` of depthwise_gelu.cpp: the same fields in the same order."""

    _fields_ = (
        ("batch", c_int64), ("length", c_int64 * 3),
        *((name, c_int64) for name in ("channels", "padded", "threads")),
        *((name, c_void_p) for name in (
            "x", "taps", "bias", "y", "turned", "d_y", "d_x", "sums",
        )),
        ("kind", c_int32), ("relu", c_int32),
    )  # fmt: skip


@torch.library.custom_op("vitrail::depthwise_gelu", mutates_args=())
def depthwise_gelu(x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
    """Return ``gelu(convolution(relu?(x)))``, the convolution of each channel on its own.

    Args:
        x: ``(batch, *spatial, channels)``, of float32, bfloat16 or float16 on the CPU.
        weight: ``(channels, 1, 3, ...)``, a three for each axis, up to three of them; zeros lie
            beyond the border.
        bias: ``(channels,)``, or None.
        relu: rectify ``x`` first.
    Raises:
        UsageError: tensors that the kernel cannot serve.
    """
    _check(x, weight, bias)
    x = x.contiguous()
    y = torch.empty_like(x)
    if y.numel():
        taps, padding = depthwise_taps(weight, bias)
        call = _describe(x, taps, padding, relu)
        call.y = y.data_ptr()
        build.library(SOURCE).vitrail_depthwise_gelu(ctypes.byref(call))
    return y


@depthwise_gelu.register_fake
def _(x: Tensor, *rest: Any) -> Tensor:
    del rest
    return x.new_empty(x.shape)


@torch.library.custom_op("vitrail::depthwise_gelu_backward", mutates_args=())
def depthwise_gelu_backward(
    grad_y: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    relu: bool,
    needs: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of ``x``, ``weight`` and ``bias``.

    Each has the shape and type of what it is the gradient of; one that is not needed is empty.
    """
    found = _like(x, weight, bias, needs)
    x, grad_y = x.contiguous(), grad_y.contiguous()
    if x.numel() == 0:
        return tuple(one.zero_() for one in found)  # type: ignore[return-value]
    taps, padding = depthwise_taps(weight, bias)
    turned = taps.flip(0)
    call = _describe(x, taps, padding, relu)
    call.turned, call.d_y = turned.data_ptr(), grad_y.data_ptr()
    call.d_x = found[0].data_ptr() if needs[0] else None
    sums = taps.new_empty(len(x) if needs[1] or needs[2] else 0, 28, len(padding))
    call.sums = sums.data_ptr() if len(sums) else None
    build.library(SOURCE).vitrail_depthwise_gelu_backward(ctypes.byref(call))
    total = sums.sum(0)[:, : len(weight)]
    if needs[1]:
        middle = (1,) * (5 - weight.ndim)  # of axes that are not there
        every = total[:27].t().reshape(-1, 3, 3, 3)[(slice(None), *middle)]
        found[1].copy_(every.unsqueeze(1))
    if needs[2]:
        found[2].copy_(total[27])
    return found


@depthwise_gelu_backward.register_fake
def _(
    grad_y: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool,
    needs: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    del grad_y, relu
    return _like(x, weight, bias, needs)


def _like(
    x: Tensor, weight: Tensor, bias: Tensor | None, needs: Sequence[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return memory for the gradients that are needed."""
    return tuple(
        one.new_empty(one.shape) if wanted and one is not None else x.new_empty(0)
        for one, wanted in zip((x, weight, bias), needs, strict=True)
    )  # type: ignore[return-value]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    *tensors, ctx.relu = inputs
    ctx.save_for_backward(*tensors)


def _gradients(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
    needs = list(ctx.needs_input_grad[:3])
    found = depthwise_gelu_backward(grad_y, *ctx.saved_tensors, ctx.relu, needs)
    return (*(one if wanted else None for one, wanted in zip(found, needs, strict=True)), None)


depthwise_gelu.register_autograd(_gradients, setup_context=_keep)


@register_flop_formula(torch.ops.vitrail.depthwise_gelu)
def _forward_flops(x: Any, weight: Any, *_: Any, **__: Any) -> int:
    """Count the taps' products, each multiply-add as two."""
    return 2 * math.prod(x) * math.prod(weight[2:])


@register_flop_formula(torch.ops.vitrail.depthwise_gelu_backward)
def _backward_flops(grad_y: Any, x: Any, weight: Any, *_: Any, **__: Any) -> int:
    """Count the gradients of rows and taps."""
    del grad_y
    return 2 * _forward_flops(x, weight)


def _describe(x: Tensor, taps: Tensor, bias: Tensor, relu: bool) -> _DepthwiseGelu:
    *_, channels = x.shape
    return _DepthwiseGelu(
        batch=len(x), length=(c_int64 * 3)(*(1, 1, *x.shape[1:-1])[-3:]), channels=channels,
        padded=len(bias), threads=torch.get_num_threads(), x=x.data_ptr(), taps=taps.data_ptr(),
        bias=bias.data_ptr(), kind=KINDS[x.dtype], relu=relu,
    )  # fmt: skip


def _check(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """Refuse tensors that do not fit one another, or the kernel."""
    axes, channels = x.ndim - 2, x.shape[-1]
    fits = 1 <= axes <= 3 and weight.shape == (channels, 1, *(3,) * axes)
    if not fits or (bias is not None and bias.shape != (channels,)):
        with_bias = "" if bias is None else f", and a bias {tuple(bias.shape)}"
        raise UsageError(
            f"x {tuple(x.shape)}, a weight {tuple(weight.shape)}{with_bias}",
            "(batch, *spatial, channels), (channels, 1, 3, ...), a three for each of up to three"
            " axes, and (channels,)",
            "use the model's own layers",
        )
    elsewhere = [t for t in (x, weight, bias) if t is not None and t.device.type != "cpu"]
    reason = why_not(x.dtype, elsewhere[0].device.type if elsewhere else "cpu")
    if reason is not None:
        raise UsageError(
            f"a depthwise convolution in {x.dtype}: {reason}",
            "float32, bfloat16 or float16 on the CPU, and a C++ compiler",
            "use the model's own layers",
        )
