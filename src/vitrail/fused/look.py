"""Between a perceptron's linear layers, in a training step: a look at the neighbours, and the GELU.

One operation each way. Kept for the backward pass is ``x`` alone: what stood before the GELU is
computed again.
"""

import ctypes
from collections.abc import Sequence
from ctypes import c_int32, c_int64, c_void_p
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vitrail.attention.cpp import build
from vitrail.attention.cpp.kernel import KINDS
from vitrail.errors import UsageError
from vitrail.fused.kernel import why_not

SOURCE = Path(__file__).with_name("look.cpp")
_WHOLE = 16  # channels of the taps are padded to a multiple, the longest vector


class _Look(ctypes.Structure):
    """``Look`` of look.cpp: the same fields in the same order."""

    _fields_ = (
        ("batch", c_int64), ("length", c_int64 * 3),
        *((name, c_int64) for name in ("channels", "padded", "threads")),
        *((name, c_void_p) for name in (
            "x", "taps", "bias", "y", "turned", "d_y", "d_x", "sums",
        )),
        ("kind", c_int32), ("relu", c_int32),
    )  # fmt: skip


def taps_of(
    weight: Float[Tensor, "channels 1 *kernel"], bias: Float[Tensor, " channels"] | None
) -> tuple[Float[Tensor, "27 padded"], Float[Tensor, " padded"]]:
    """Return a convolution's weight and bias as the kernels read them: in float32, padded.

    The kernel is three tokens long along each of up to three axes; axes that are not there have
    taps too, all but the middle one zero.
    """
    channels, axes = len(weight), weight.ndim - 2
    whole = weight.detach().float()[:, 0][(slice(None),) + (None,) * (3 - axes)]
    whole = F.pad(whole, [0, 0] * axes + [1, 1] * (3 - axes) + [0, -channels % _WHOLE])
    padded = whole.new_zeros(len(whole))
    if bias is not None:
        padded[:channels] = bias.detach()
    return whole.flatten(1).t().contiguous(), padded


@torch.library.custom_op("vitrail::look_around", mutates_args=())
def look_around(x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
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
    _check(x, weight)
    x = x.contiguous()
    y = torch.empty_like(x)
    if y.numel():
        taps, padding = taps_of(weight, bias)
        call = _describe(x, taps, padding, relu)
        call.y = y.data_ptr()
        build.library(SOURCE).vitrail_look(ctypes.byref(call))
    return y


@look_around.register_fake
def _(x: Tensor, *rest: Any) -> Tensor:
    del rest
    return x.new_empty(x.shape)


@torch.library.custom_op("vitrail::look_around_backward", mutates_args=())
def look_around_backward(
    grad_y: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of ``x``, ``weight`` and the bias, the last in ``weight``'s type."""
    x, grad_y = x.contiguous(), grad_y.contiguous()
    d_x, channels, axes = torch.empty_like(x), len(weight), weight.ndim - 2
    if x.numel() == 0:
        return d_x, torch.zeros_like(weight), weight.new_zeros(channels)
    taps, padding = taps_of(weight, bias)
    turned = taps.flip(0)
    sums = taps.new_empty(len(x), 28, len(padding))
    call = _describe(x, taps, padding, relu)
    call.turned, call.sums = turned.data_ptr(), sums.data_ptr()
    call.d_y, call.d_x = grad_y.data_ptr(), d_x.data_ptr()
    build.library(SOURCE).vitrail_look_backward(ctypes.byref(call))
    total = sums.sum(0)[:, :channels].to(weight.dtype)
    middle = (1,) * (3 - axes)
    d_weight = total[:27].t().reshape(channels, 3, 3, 3)[(slice(None), *middle)].unsqueeze(1)
    return d_x, d_weight.clone(memory_format=torch.contiguous_format), total[27].clone()


@look_around_backward.register_fake
def _(grad_y: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    del grad_y, rest
    return x.new_empty(x.shape), weight.new_empty(weight.shape), weight.new_empty(len(weight))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    *tensors, ctx.relu = inputs
    ctx.save_for_backward(*tensors)


def _gradients(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, bias = ctx.saved_tensors
    d_x, d_weight, d_bias = look_around_backward(grad_y, x, weight, bias, ctx.relu)
    if bias is not None:
        d_bias = d_bias.to(bias.dtype)
    wanted: Sequence[bool] = ctx.needs_input_grad
    found = (d_x, d_weight, d_bias)
    return (*(one if w else None for one, w in zip(found, wanted, strict=False)), None)


look_around.register_autograd(_gradients, setup_context=_keep)


def _describe(x: Tensor, taps: Tensor, bias: Tensor, relu: bool) -> _Look:
    *_, channels = x.shape
    return _Look(
        batch=len(x), length=(c_int64 * 3)(*(1, 1, *x.shape[1:-1])[-3:]), channels=channels,
        padded=len(bias), threads=torch.get_num_threads(), x=x.data_ptr(), taps=taps.data_ptr(),
        bias=bias.data_ptr(), kind=KINDS[x.dtype], relu=relu,
    )  # fmt: skip


def _check(x: Tensor, weight: Tensor) -> None:
    """Refuse tensors that do not fit one another, or the kernel."""
    axes = x.ndim - 2
    if not 1 <= axes <= 3 or weight.shape != (x.shape[-1], 1, *(3,) * axes):
        raise UsageError(
            f"x {tuple(x.shape)} and a weight {tuple(weight.shape)}",
            "(batch, *spatial, channels) and (channels, 1, 3, ...), a three for each of up to three"
            " axes",
            "use the model's own layers",
        )
    reason = why_not(x.dtype, x.device.type)
    if reason is not None:
        raise UsageError(
            f"a look around in {x.dtype} on {x.device.type}: {reason}",
            "float32, bfloat16 or float16 on the CPU, and a C++ compiler",
            "use the model's own layers",
        )
