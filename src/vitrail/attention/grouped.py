"""Attention by groups, read and written in place (ADR 39).

One operation serves every pattern: small tensors of whole numbers say which tokens meet, queries,
keys and values are read where the linear layer wrote them, and outputs are written where the next
one reads. Nothing is rolled, padded, partitioned or transposed.

It is a torch custom operation with shapes for the compiler and gradients of its own; ``backend``
names what computes it. All keep to ``plain``, which is written to be read.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from vitrail.attention.call import KernelCall
from vitrail.attention.kernels import KERNELS, choose_kernel, kernel
from vitrail.attention.operation import operation
from vitrail.attention.problem import Problem
from vitrail.errors import UsageError
from vitrail.patterns import Groups


def attend_groups(
    qkv: Float[Tensor, "batch tokens 3 heads head_dim"],
    groups: Groups,
    *,
    scale: float,
    bias: Float[Tensor, "#groups heads queries keys"] | None = None,
    pooled: Float[Tensor, "batch cells 2 heads head_dim"] | None = None,
    logit_scale: Float[Tensor, " heads"] | None = None,
    padding_kv: Float[Tensor, "3 heads head_dim"] | None = None,
    mask_value: float = -math.inf,
    terms: Float[Tensor, "batch groups heads queries terms"] | None = None,
    key_terms: Int[Tensor, "axes keys"] | None = None,
    backend: str | None = None,
) -> Float[Tensor, "batch tokens dim"]:
    """Let each token attend to the keys of its group; softmax in at least float32.

    Args:
        qkv: queries, keys and values of every token, as one linear layer wrote them: any strides,
            with the channels of a head side by side.
        groups: which tokens meet, without a batch axis; cells count from the number of tokens.
        scale: multiplies ``q k^T``.
        bias: added to the scores: one set for every group, or one for each.
        pooled: keys and values beyond the tokens.
        logit_scale: cosine attention: queries and keys get unit length, and scores are multiplied
            by it, head by head.
        padding_kv: keys and values of padding that is seen, behind queries that are not read: a
            key of index -1 is those, and its label counts. None: it is not seen.
        mask_value: added to scores across labels; minus infinity hides them.
        terms: a bias that depends on the query: what keys add to its scores by their place along
            an axis. In the forward pass alone.
        key_terms: which of the terms a key adds, one along each axis.
        backend: what computes it: ``"plain"``, ``"cpp"`` or ``"triton"``; default the kernel for
            the device that needs nothing to be built, or else ``"plain"``.
    Returns:
        One row for each token, heads side by side, in ``qkv``'s dtype.
    Raises:
        UsageError: an unknown backend, or one that cannot serve these tensors; terms where
            gradients are wanted.
    """
    if terms is not None and torch.is_grad_enabled() and (qkv.requires_grad or terms.requires_grad):
        raise UsageError(
            "terms of queries where gradients are wanted",
            "the forward pass alone",
            "call it under torch.no_grad(), or add the bias densely: bias=",
        )
    if backend is None:
        backend = choose_kernel(Problem.of_groups(qkv, groups.q_index, groups.k_index, bias,
                                                  groups.q_region)) or "plain"  # fmt: skip
    elif backend not in KERNELS:
        raise UsageError(
            f"backend={backend!r}", f"one of {', '.join(KERNELS)}", "leave it out to let it choose"
        )
    out, _ = grouped_attention(
        qkv, pooled, groups.q_index, groups.k_index, groups.q_region, groups.k_region, bias,
        logit_scale, None if padding_kv is None else padding_kv.to(qkv.dtype), scale, mask_value,
        groups.unique_keys, backend, terms, key_terms,
    )  # fmt: skip
    return out


@operation("vitrail::grouped_attention")
def grouped_attention(
    qkv: Tensor,
    pooled: Tensor | None,
    q_index: Tensor,
    k_index: Tensor,
    q_region: Tensor | None,
    k_region: Tensor | None,
    bias: Tensor | None,
    logit_scale: Tensor | None,
    padding_kv: Tensor | None,
    scale: float,
    mask_value: float,
    unique_keys: bool,
    backend: str,
    terms: Tensor | None = None,
    key_terms: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return what ``attend_groups`` does, and the logarithm of each query's sum of weights.

    That one is ``(batch, groups, heads, queries)``, in float32 (float64 of float64); what stands
    at the place of no query means nothing.
    """
    module = kernel(backend)
    problem = Problem.of_groups(qkv, q_index, k_index, bias, q_region)
    reason = module.why_not(replace(problem, query_bias=terms is not None))
    if reason is not None:
        raise UsageError(
            f"backend={backend!r} for {_described(qkv)}: {reason}",
            "a backend that serves these tensors",
            "use backend='plain', which serves all",
        )
    return module.forward(KernelCall(
        qkv, pooled, q_index, k_index, q_region, k_region, bias, logit_scale, padding_kv, scale,
        mask_value, unique_keys, terms, key_terms,
    ))  # fmt: skip


@grouped_attention.register_fake
def _(qkv: Tensor, pooled: Any, q_index: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    del pooled, rest
    batch, tokens, _, heads, head_dim = qkv.shape
    groups, queries = q_index.shape
    wide = torch.promote_types(qkv.dtype, torch.float32)
    return (
        qkv.new_empty(batch, tokens, heads * head_dim),
        qkv.new_empty(batch, groups, heads, queries, dtype=wide),
    )


@operation("vitrail::grouped_attention_backward")
def grouped_attention_backward(
    grad_out: Tensor,
    out: Tensor,
    lse: Tensor,
    qkv: Tensor,
    pooled: Tensor | None,
    q_index: Tensor,
    k_index: Tensor,
    q_region: Tensor | None,
    k_region: Tensor | None,
    bias: Tensor | None,
    logit_scale: Tensor | None,
    padding_kv: Tensor | None,
    scale: float,
    mask_value: float,
    unique_keys: bool,
    backend: str,
    needs: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of qkv, pooled, bias, logit_scale and padding_kv.

    Each has the shape of what it is the gradient of, contiguous; one that is not needed is empty.
    """
    call = KernelCall(
        qkv, pooled, q_index, k_index, q_region, k_region, bias, logit_scale, padding_kv, scale,
        mask_value, unique_keys,
    )  # fmt: skip
    found = kernel(backend).backward(call, grad_out, out, lse, needs)
    return tuple(qkv.new_empty(0) if gradient is None else gradient for gradient in found)  # type: ignore[return-value]


@grouped_attention_backward.register_fake
def _(
    grad_out: Tensor, out: Tensor, lse: Tensor, qkv: Tensor, pooled: Any, q_index: Tensor,
    k_index: Tensor, q_region: Any, k_region: Any, bias: Any, logit_scale: Any, padding_kv: Any,
    scale: float, mask_value: float, unique_keys: bool, backend: str, needs: Sequence[bool],
) -> tuple[Tensor, ...]:  # fmt: skip
    return tuple(
        x.new_empty(x.shape) if wanted and x is not None else qkv.new_empty(0)
        for x, wanted in zip((qkv, pooled, bias, logit_scale, padding_kv), needs, strict=True)
    )


# Where the operation's differentiable tensors stand among its arguments.
_DIFFERENTIABLE = (0, 1, 6, 7, 8)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:9], *output)
    ctx.options = inputs[9:13]  # terms have no gradient
    ctx.set_materialize_grads(False)


def _gradients(ctx: Any, grad_out: Tensor | None, grad_lse: Any) -> tuple[Tensor | None, ...]:
    del grad_lse  # lse is for the backward pass alone: nothing depends on it
    gradients: list[Tensor | None] = [None] * (len(ctx.options) + 11)
    needs = [ctx.needs_input_grad[place] for place in _DIFFERENTIABLE]
    if grad_out is not None and any(needs):
        *inputs, out, lse = ctx.saved_tensors
        found = grouped_attention_backward(
            grad_out.contiguous(), out, lse, *inputs, *ctx.options, needs
        )
        for place, gradient, wanted in zip(_DIFFERENTIABLE, found, needs, strict=True):
            gradients[place] = gradient if wanted else None
    return tuple(gradients)


grouped_attention.register_autograd(_gradients, setup_context=_keep)


@register_flop_formula(torch.ops.vitrail.grouped_attention)
def _forward_flops(qkv: Any, pooled: Any, q_index: Any, k_index: Any, *_: Any, **__: Any) -> int:
    """Count the two products, each multiply-add as two."""
    del pooled
    batch, _, _, heads, head_dim = qkv
    return 4 * batch * heads * head_dim * math.prod(q_index) * k_index[1]


@register_flop_formula(torch.ops.vitrail.grouped_attention_backward)
def _backward_flops(
    grad_out: Any, out: Any, lse: Any, qkv: Any, pooled: Any, q_index: Any, k_index: Any,
    *_: Any, **__: Any,
) -> int:  # fmt: skip
    """Count five products: the scores again, and two gradients of each product."""
    del grad_out, out, lse
    return _forward_flops(qkv, pooled, q_index, k_index) * 5 // 2


def _described(qkv: Tensor) -> str:
    return f"{qkv.dtype} on {qkv.device.type} with head_dim={qkv.shape[-1]}"
