"""The specification of attention by groups: gathers, products, and their gradients written out.

What the kernels for one device do without ever storing a weight, this does with all of them, in at
least float32. The backward pass recomputes the weights from the logarithms of their sums, as the
kernels do: finite differences in float64 check the formula that they share.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitrail.attention.call import Gradients, KernelCall
from vitrail.attention.problem import Problem

LEAST_NORM = 1e-12  # as torch.nn.functional.normalize has it


def why_not(problem: Problem) -> str | None:
    """Return why this cannot serve ``problem``, or None if it can."""
    if problem.query_bias and problem.gradients:
        return "a bias that depends on the query: its forward pass alone"
    return None


class _Met(NamedTuple):
    """What meets in the groups, in float32 or wider; heads before tokens."""

    q: Float[Tensor, "batch groups heads queries head_dim"]
    k: Float[Tensor, "batch groups heads keys head_dim"]
    v: Float[Tensor, "batch groups heads keys head_dim"]
    q_norm: Tensor | None  # lengths before they became one
    k_norm: Tensor | None
    scores: Float[Tensor, "batch groups heads queries keys"]


def forward(
    call: KernelCall,
) -> tuple[Float[Tensor, "batch tokens dim"], Float[Tensor, "batch groups heads queries"]]:
    """Return the mean of the values that each token sees, and the logarithm of its weights' sum."""
    met = _meet(call)
    lse = met.scores.logsumexp(-1)
    weights = _weights(met.scores, lse)
    out = _placed(weights @ met.v, call.q_index, call.qkv.shape[1])
    return out.flatten(2).to(call.qkv.dtype).contiguous(), lse


def backward(
    call: KernelCall,
    grad_out: Float[Tensor, "batch tokens dim"],
    out: Float[Tensor, "batch tokens dim"],
    lse: Float[Tensor, "batch groups heads queries"],
    needs: Sequence[bool],
) -> Gradients:
    """Return the gradients of ``qkv``, ``pooled``, ``bias``, ``logit_scale`` and ``padding_kv``.

    Args:
        call: as ``forward`` got it.
        grad_out: gradient of ``out``.
        out: what ``forward`` returned.
        lse: what ``forward`` returned.
        needs: which of the five are wanted; None stands for the others.
    """
    q_index = call.q_index
    tokens, _, heads, dim = call.qkv.shape[1:]
    met = _meet(call)
    weights = _weights(met.scores, lse)
    d_out, row = (
        _rows(x.unflatten(-1, (heads, dim)).to(weights.dtype), q_index) for x in (grad_out, out)
    )
    d_out = d_out * (q_index >= 0)[:, None, :, None]  # a place without a query
    mean = (d_out * row).sum(-1, keepdim=True)
    d_scores = weights * (d_out @ met.v.mT - mean)
    d_v = weights.mT @ d_out
    d_q, d_k, d_logit_scale = _through_products(met, d_scores, call.logit_scale, call.scale)

    d_pairs = torch.stack((d_k, d_v), dim=4).transpose(2, 3)  # batch groups keys heads 2 head_dim
    d_rows = _summed(d_pairs.transpose(3, 4), call)
    d_qkv = torch.cat((_placed(d_q, q_index, tokens)[:, :, None], d_rows[:, :tokens]), dim=2)
    d_padding_kv = torch.cat((torch.zeros_like(d_rows[0, :1, 0]), d_rows[:, -1].sum(0)))
    d_bias = d_scores.sum(0)
    if call.bias is not None and call.bias.shape[0] == 1:
        d_bias = d_bias.sum(0, keepdim=True)
    found = (d_qkv, d_rows[:, tokens:-1], d_bias, d_logit_scale, d_padding_kv)
    return call.gradients(found, needs)


def _meet(call: KernelCall) -> _Met:
    """Gather what meets, and compute the scores: minus infinity where nothing is seen."""
    qkv, pooled, padding_kv = call.qkv, call.pooled, call.padding_kv
    wide = torch.promote_types(qkv.dtype, torch.float32)
    rows = qkv[:, :, 1:] if pooled is None else torch.cat((qkv[:, :, 1:], pooled), dim=1)
    # The last row is what a place without a token reads as.
    empty = rows.new_zeros(2, *rows.shape[-2:])
    if padding_kv is not None:
        empty = padding_kv[1:].to(rows.dtype)
    rows = torch.cat((rows, empty.expand(rows.shape[0], 1, -1, -1, -1)), dim=1).to(wide)
    q = _rows(qkv[:, :, 0].to(wide), call.q_index)
    k, v = (_rows(rows[:, :, part], call.k_index) for part in (0, 1))
    q_norm = k_norm = None
    factor: Tensor | float = call.scale
    if call.logit_scale is not None:
        q, q_norm = _unit(q)
        k, k_norm = _unit(k)
        factor = call.logit_scale.to(wide)[:, None, None] * call.scale
    scores = (q @ k.mT) * factor
    if call.bias is not None:
        scores = scores + call.bias.to(wide)
    if call.terms is not None and call.key_terms is not None:
        scores = scores + sum(call.terms[..., place.long()] for place in call.key_terms)
    if call.q_region is not None and call.k_region is not None:
        across = (call.q_region[:, :, None] != call.k_region[:, None, :])[:, None]
        scores = (
            scores.masked_fill(across, -math.inf)
            if call.mask_value == -math.inf
            else scores + across * call.mask_value
        )
    if padding_kv is None:
        scores = scores.masked_fill((call.k_index < 0)[:, None, None], -math.inf)
    return _Met(q, k, v, q_norm, k_norm, scores)


def _weights(scores: Tensor, lse: Tensor) -> Tensor:
    """Return how each query divides its attention; zeros for a place that sees nothing."""
    some = lse[..., None] > -math.inf
    return (scores - lse[..., None].masked_fill(~some, 0)).exp().to(scores.dtype) * some


def _through_products(
    met: _Met, d_scores: Tensor, logit_scale: Tensor | None, scale: float
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the gradients of queries, keys and the logit scale, before unit length."""
    if logit_scale is None or met.q_norm is None or met.k_norm is None:
        return (d_scores @ met.k) * scale, (d_scores.mT @ met.q) * scale, None
    d_logit_scale = (d_scores * (met.q @ met.k.mT)).sum((0, 1, 3, 4)) * scale
    d_scores = d_scores * (logit_scale.to(d_scores.dtype)[:, None, None] * scale)
    d_q = _before_unit(d_scores @ met.k, met.q, met.q_norm)
    d_k = _before_unit(d_scores.mT @ met.q, met.k, met.k_norm)
    return d_q, d_k, d_logit_scale


def _unit(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``x`` at unit length, and its length before."""
    norm = x.norm(dim=-1, keepdim=True)
    return x / norm.clamp(min=LEAST_NORM), norm


def _before_unit(gradient: Tensor, unit: Tensor, norm: Tensor) -> Tensor:
    """Return the gradient of a vector from that of its direction."""
    along = (gradient * unit).sum(-1, keepdim=True) * (norm >= LEAST_NORM)
    return (gradient - unit * along) / norm.clamp(min=LEAST_NORM)


def _rows(
    x: Float[Tensor, "batch rows heads head_dim"], index: Int[Tensor, "groups places"]
) -> Float[Tensor, "batch groups heads places head_dim"]:
    """Return the row of each place; -1 stands for the last row."""
    rows = x.index_select(1, _from_end(index, x.shape[1]).flatten())
    return rows.unflatten(1, index.shape).transpose(2, 3)


def _placed(
    x: Float[Tensor, "batch groups heads queries head_dim"],
    q_index: Int[Tensor, "groups queries"],
    tokens: int,
) -> Float[Tensor, "batch tokens heads head_dim"]:
    """Put each query's row to its token; every token is one query."""
    batch, _, heads, _, dim = x.shape
    rows = x.new_full((batch, tokens + 1, heads, dim), math.nan)
    index = _from_end(q_index, tokens + 1).flatten()
    return rows.index_copy(1, index, x.transpose(2, 3).flatten(1, 2))[:, :-1]


def _summed(
    x: Float[Tensor, "batch groups keys 2 heads head_dim"], call: KernelCall
) -> Float[Tensor, "batch rows 2 heads head_dim"]:
    """Add up what the groups give each token, then of each pooled cell, then of no token."""
    count = call.qkv.shape[1] + (0 if call.pooled is None else call.pooled.shape[1]) + 1
    rows = x.new_zeros(x.shape[0], count, *x.shape[-3:])
    return rows.index_add(1, _from_end(call.k_index, count).flatten(), x.flatten(1, 2))


def _from_end(index: Tensor, count: int) -> Tensor:
    return torch.where(index < 0, count - 1, index).long()
