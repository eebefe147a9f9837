"""One or two linear layers with their norm, GELU and sum in a training step: forward and backward.

``add + factor * linear2(gelu(linear1(norm(x))))``, or one linear layer, in one pass over the rows.
Kept for the backward pass are ``x`` and the hidden values before the GELU; what follows from them
by row is computed again. Weights are packed for the processor at every call, from the type that
they are stored in: a step changes them.
"""

import ctypes
import functools
import math
from collections.abc import Sequence
from ctypes import c_float, c_int32, c_int64, c_void_p
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from vitrail.attention.cpp import build
from vitrail.attention.cpp.kernel import KINDS
from vitrail.errors import UsageError
from vitrail.fused.support import source, why_not
from vitrail.fused.training.depthwise_gelu import SOURCE as DEPTHWISE_GELU

SOURCE = source("fused_mlp")
_CACHE = 640 << 10  # bytes of a block of rows, most of a core's own cache
_TILE, _MOST = 24, 192  # a block's rows are a multiple, and at most


class _FusedMlp(ctypes.Structure):
    """``FusedMlp`` of fused_mlp.cpp: the same fields in the same order."""

    _fields_ = (
        *((name, c_int64) for name in (
            "rows", "inputs", "hidden", "outputs", "sample", "first_columns", "second_columns",
            "threads", "block",
        )),
        *((name, c_void_p) for name in (
            "x", "norm_weight", "norm_bias", "first", "second", "first_bias", "second_bias", "add",
            "factor", "middle", "y", "d_x", "sums", "d_first", "d_second",
        )),
        ("eps", c_float), ("kind", c_int32), ("wants_norm", c_int32),
    )  # fmt: skip


class _Packing(ctypes.Structure):
    """``Packing`` of fused_mlp.cpp: the same fields in the same order."""

    _fields_ = (
        *((name, c_int64) for name in ("outputs", "inputs", "columns", "threads")),
        ("weight", c_void_p), ("panels", c_void_p),
        ("weight_kind", c_int32), ("kind", c_int32), ("transposed", c_int32),
    )  # fmt: skip


def fused_mlp(
    x: Float[Tensor, "*batch inputs"],
    weight: Float[Tensor, "hidden inputs"],
    bias: Float[Tensor, " hidden"] | None = None,
    *,
    second: tuple[Float[Tensor, "outputs hidden"], Float[Tensor, " outputs"] | None] | None = None,
    norm: tuple[Float[Tensor, " inputs"] | None, Float[Tensor, " inputs"] | None, float]
    | None = None,
    add: Float[Tensor, "*batch outputs"] | None = None,
    factor: Float[Tensor, " samples"] | None = None,
) -> Float[Tensor, "*batch outputs"]:
    """Normalise, project, rectify and project again, scale, and add; each step is optional.

    Products are of numbers of ``x``'s type, added up in float32; parameters may be of any type and
    get their gradients in it.

    Args:
        x: rows, of float32, bfloat16 or float16.
        weight: of the first linear layer.
        bias: of it.
        second: weight and bias of a second linear layer, behind an exact GELU.
        norm: weight, bias and epsilon of a layer norm of ``x``.
        add: what is added to the result.
        factor: of each member of the batch, times the result before that sum.
    Raises:
        UsageError: tensors that the kernel cannot serve.
    """
    inputs = x.shape[-1]
    norm_weight, norm_bias, eps = None, None, 0.0
    if norm is not None:
        norm_weight, norm_bias, eps = norm
        norm_weight = x.new_ones(inputs) if norm_weight is None else norm_weight
        norm_bias = x.new_zeros(inputs) if norm_bias is None else norm_bias
    weight2, bias2 = second or (None, None)
    y, _ = fused_mlp_forward(
        x, weight, bias, weight2, bias2, norm_weight, norm_bias, add, factor, eps
    )
    return y


@torch.library.custom_op("vitrail::fused_mlp", mutates_args=())
def fused_mlp_forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    weight2: Tensor | None,
    bias2: Tensor | None,
    norm_weight: Tensor | None,
    norm_bias: Tensor | None,
    add: Tensor | None,
    factor: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """Return what ``fused_mlp`` does, and the hidden values before the GELU, or nothing."""
    reason = why_not(x.dtype, x.device.type)
    if reason is not None:
        raise UsageError(
            f"a fused MLP of {x.dtype} on {x.device.type}: {reason}",
            "float32, bfloat16 or float16 on the CPU, and a C++ compiler",
            "use the model's own layers",
        )
    x = x.contiguous()
    last = weight if weight2 is None else weight2
    y = x.new_empty(*x.shape[:-1], last.shape[0])
    _check(x, weight, weight2, add, factor, y)
    middle = x.new_empty(0 if weight2 is None else (*x.shape[:-1], weight.shape[0]))
    if y.numel() == 0:
        return y, middle
    call, keep = _describe(x, weight, weight2, norm_weight, norm_bias, factor, middle, eps)
    call.first, call.first_columns = _packed(weight, x.dtype, keep)
    call.first_bias = keep(_padded(bias, weight.shape[0], call.first_columns))
    if weight2 is not None:
        call.second, call.second_columns = _packed(weight2, x.dtype, keep)
        call.second_bias = keep(_padded(bias2, weight2.shape[0], call.second_columns))
    call.block = _block(call.rows, x.dtype, call.inputs + call.hidden)
    call.add = keep(None if add is None else add.contiguous())
    call.y = y.data_ptr()
    _library().vitrail_fused_mlp(ctypes.byref(call))
    return y, middle


@fused_mlp_forward.register_fake
def _(x: Tensor, weight: Tensor, bias: Any, weight2: Tensor | None, *rest: Any) -> Any:
    del bias, rest
    last = weight if weight2 is None else weight2
    y = x.new_empty(*x.shape[:-1], last.shape[0])
    return y, x.new_empty(0 if weight2 is None else (*x.shape[:-1], weight.shape[0]))


@torch.library.custom_op("vitrail::fused_mlp_backward", mutates_args=())
def fused_mlp_backward(
    grad_y: Tensor,
    middle: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    weight2: Tensor | None,
    bias2: Tensor | None,
    norm_weight: Tensor | None,
    norm_bias: Tensor | None,
    factor: Tensor | None,
    eps: float,
    needs: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x, weight, bias, weight2, bias2 and the norm's weight and bias.

    Each has the shape and type of what it is the gradient of; one that is not needed is empty.
    """
    given = (x, weight, bias, weight2, bias2, norm_weight, norm_bias)
    found = [_like(one, wanted, x) for one, wanted in zip(given, needs, strict=True)]
    if grad_y.numel() == 0:
        return tuple(one.zero_() for one in found)  # type: ignore[return-value]
    x, grad_y = x.contiguous(), grad_y.contiguous()
    call, keep = _describe(x, weight, weight2, norm_weight, norm_bias, factor, middle, eps)
    call.first, call.first_columns = _packed(weight, x.dtype, keep, transposed=True)
    if weight2 is not None:
        call.second, call.second_columns = _packed(
            weight2, x.dtype, keep, transposed=True, side=True
        )
    call.block = _block(call.rows, x.dtype, 3 * call.inputs + call.hidden + call.outputs)
    blocks = math.ceil(call.rows / call.block)
    sums = torch.empty(blocks, call.outputs + call.hidden + 2 * call.inputs, dtype=torch.float32)
    call.sums, call.y = sums.data_ptr(), grad_y.data_ptr()
    call.d_x = found[0].data_ptr() if needs[0] else None
    call.wants_norm = needs[5] or needs[6]
    products = {}  # a weight's gradient is added up in float32
    for name, place in (("d_first", 1), ("d_second", 3)):
        if needs[place]:
            products[place] = torch.empty(found[place].shape, dtype=torch.float32)
            setattr(call, name, products[place].data_ptr())
    _library().vitrail_fused_mlp_backward(ctypes.byref(call))
    for place, product in products.items():
        found[place] = product.to(found[place].dtype)
    total = sums.sum(0)
    widths = (call.outputs, call.hidden, call.inputs, call.inputs)
    parts = total.split(widths)
    places = (4 if call.hidden else 2, 2 if call.hidden else 4, 5, 6)
    for place, part in zip(places, parts, strict=True):
        if needs[place]:
            found[place] = part.to(given[place].dtype, copy=True)  # type: ignore[union-attr]
    return tuple(found)  # type: ignore[return-value]


@fused_mlp_backward.register_fake
def _(
    grad_y: Tensor, middle: Tensor, x: Tensor, weight: Tensor, bias: Any, weight2: Any, bias2: Any,
    norm_weight: Any, norm_bias: Any, factor: Any, eps: float, needs: Sequence[bool],
) -> tuple[Tensor, ...]:  # fmt: skip
    given = (x, weight, bias, weight2, bias2, norm_weight, norm_bias)
    return tuple(_like(one, wanted, x) for one, wanted in zip(given, needs, strict=True))


def _like(one: Tensor | None, wanted: bool, x: Tensor) -> Tensor:
    return one.new_empty(one.shape) if wanted and one is not None else x.new_empty(0)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *given, add, factor, eps = inputs
    ctx.save_for_backward(*given, factor, output[1])
    ctx.eps = eps
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)
    del add


def _gradients(ctx: Any, grad_y: Tensor | None, grad_middle: Any) -> tuple[Tensor | None, ...]:
    del grad_middle
    gradients: list[Tensor | None] = [None] * 10
    if grad_y is None:
        return tuple(gradients)
    needs = list(ctx.needs_input_grad[:7])
    if any(needs):
        *given, factor, middle = ctx.saved_tensors
        found = fused_mlp_backward(grad_y, middle, *given, factor, ctx.eps, needs)
        gradients[:7] = [one if wanted else None for one, wanted in zip(found, needs, strict=True)]
    gradients[7] = grad_y if ctx.needs_input_grad[7] else None
    return tuple(gradients)


fused_mlp_forward.register_autograd(_gradients, setup_context=_keep)


def _check(
    x: Tensor, weight: Tensor, weight2: Tensor | None, add: Tensor | None, factor: Tensor | None,
    y: Tensor,
) -> None:  # fmt: skip
    """Refuse tensors that do not fit one another."""
    if x.shape[-1] != weight.shape[1]:
        raise UsageError(
            f"an input of {x.shape[-1]} channels",
            f"{weight.shape[1]} channels",
            "give the layer what it was made for",
        )
    if weight2 is not None and weight2.shape[1] != weight.shape[0]:
        raise UsageError(
            f"a second layer of {weight2.shape[1]} inputs behind {weight.shape[0]} outputs",
            "as many",
            "make both layers of the same hidden width",
        )
    if add is not None and (add.shape, add.dtype) != (y.shape, y.dtype):
        raise UsageError(
            f"a sum with {tuple(add.shape)} of {add.dtype}",
            f"{tuple(y.shape)} of {y.dtype}",
            "add it outside",
        )
    if factor is not None and factor.shape != x.shape[:1]:
        raise UsageError(
            f"factors {tuple(factor.shape)}",
            f"one for each of {x.shape[0]} members of the batch",
            "leave them out",
        )


class _Held(list):
    """Tensors whose memory a call names."""

    def __call__(self, x: Tensor | None) -> int | None:
        if x is None:
            return None
        self.append(x)
        return x.data_ptr()


def _describe(
    x: Tensor, weight: Tensor, weight2: Tensor | None, norm_weight: Tensor | None,
    norm_bias: Tensor | None, factor: Tensor | None, middle: Tensor, eps: float,
) -> tuple[_FusedMlp, _Held]:  # fmt: skip
    """Return the kernel's arguments of both passes, and what holds their memory."""
    keep = _Held()
    rows = x.numel() // x.shape[-1]
    last = weight if weight2 is None else weight2
    call = _FusedMlp(
        rows=rows, inputs=x.shape[-1], hidden=0 if weight2 is None else weight.shape[0],
        outputs=last.shape[0], sample=rows // len(factor) if factor is not None else rows,
        threads=torch.get_num_threads(), x=x.data_ptr(), middle=middle.data_ptr(), eps=eps,
        kind=KINDS[x.dtype],
    )  # fmt: skip
    for name, one in (("norm_weight", norm_weight), ("norm_bias", norm_bias), ("factor", factor)):
        if one is not None:
            setattr(call, name, keep(one.detach().float().contiguous()))
    return call, keep


def _packed(
    weight: Tensor, dtype: torch.dtype, keep: _Held, *, transposed: bool = False, side: bool = False
) -> tuple[int | None, int]:
    """Return where the panels of a weight lie, and how many columns each has."""
    outputs, inputs = weight.shape
    wide, deep = (inputs, outputs) if transposed else (outputs, inputs)
    per, columns = _packing(KINDS[dtype], wide, side)
    panels = torch.empty(
        math.ceil(wide / columns) * columns * math.ceil(deep / per), dtype=torch.int32
    )
    weight = weight.detach().contiguous()
    call = _Packing(
        outputs=outputs, inputs=inputs, columns=columns, threads=torch.get_num_threads(),
        weight=weight.data_ptr(), panels=panels.data_ptr(), weight_kind=KINDS[weight.dtype],
        kind=KINDS[dtype], transposed=transposed,
    )  # fmt: skip
    _library().vitrail_training_pack(ctypes.byref(call))
    return keep(panels), columns


def _padded(bias: Tensor | None, outputs: int, columns: int) -> Tensor:
    """Return a bias in float32, zeros up to whole panels."""
    padded = torch.zeros(math.ceil(outputs / columns) * columns, dtype=torch.float32)
    if bias is not None:
        padded[:outputs] = bias.detach()
    return padded


def _block(rows: int, dtype: torch.dtype, numbers: int) -> int:
    """Return how many rows to take at once: what fits into the cache, and work for every thread."""
    fit = _CACHE // (numbers * dtype.itemsize) // _TILE * _TILE
    share = math.ceil(rows / torch.get_num_threads() / _TILE) * _TILE
    return max(_TILE, min(fit, share, _MOST))


@functools.cache
def _packing(kind: int, outputs: int, side: bool) -> tuple[int, int]:
    """Return how many numbers a word has, and how many outputs a panel."""
    columns = c_int64()
    function = _library().vitrail_training_packing
    function.restype = c_int64
    per = function(c_int32(kind), c_int64(outputs), c_int32(side), ctypes.byref(columns))
    return per, columns.value


def build_for_training() -> None:
    """Build the kernels of a training step, unless they are.

    Raises:
        UsageError: the compiler or the cache's folder does not take it.
    """
    for kernel in (build.SOURCE, SOURCE, DEPTHWISE_GELU):
        build.library(kernel)


def _library() -> ctypes.CDLL:
    return build.library(SOURCE)


@register_flop_formula(torch.ops.vitrail.fused_mlp)
def _forward_flops(x: Any, weight: Any, bias: Any, weight2: Any = None, *_: Any, **__: Any) -> int:
    """Count the products, each multiply-add as two."""
    del bias
    rows = math.prod(x[:-1])
    return 2 * rows * sum(math.prod(one) for one in (weight, weight2) if one is not None)


@register_flop_formula(torch.ops.vitrail.fused_mlp_backward)
def _backward_flops(
    grad_y: Any, middle: Any, x: Any, weight: Any, bias: Any, weight2: Any = None,
    *_: Any, **__: Any,
) -> int:  # fmt: skip
    """Count the gradients of rows and weights."""
    del grad_y, middle
    return 2 * _forward_flops(x, weight, bias, weight2)
