"""Attention by groups on a GPU: shapes and strides in, fresh tensors out.

Triton is imported where a kernel is launched: without it, this module can still say so.
"""

import importlib.util
import os
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitrail.attention.problem import Problem
from vitrail.attention.triton.call import Call, RowGradients, Sums

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# The tiles of a wider head would not fit into registers.
WIDEST_HEAD = 128
_HAS_TRITON = importlib.util.find_spec("triton") is not None
# Triton reads it when it is first imported; then its kernels run on the CPU, slowly, as checks.
INTERPRETED = os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "yes", "on", "y")


def why_not(problem: Problem) -> str | None:
    """Return why the kernels cannot serve ``problem``, or None if they can."""
    if not _HAS_TRITON:
        return "the package triton is not installed"
    if problem.device != "cuda" and not (problem.device == "cpu" and INTERPRETED):
        return f"tensors on {problem.device}: it runs on a GPU (or under TRITON_INTERPRET=1)"
    if problem.dtype not in DTYPES:
        return f"{problem.dtype}: it takes float32, bfloat16 and float16"
    if problem.head_dim > WIDEST_HEAD:
        return f"head_dim={problem.head_dim}: it takes up to {WIDEST_HEAD}"
    if problem.dropout > 0:
        return "dropout of attention weights"
    return None


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
    """Return what ``plain.forward`` returns, without a score in memory.

    Args:
        qkv: queries, keys and values of every token, the channels of a head side by side.
        pooled: further keys and values.
        q_index: token of each query; every token asks once.
        k_index: token of each key.
        q_region: label of each query.
        k_region: label of each key.
        bias: added to the scores.
        temperature: of cosine attention.
        fill: what a key place that holds no token reads as.
        scale: multiplies ``q k^T``.
        mask_value: added to scores across labels.
    Returns:
        Answers, heads side by side, and the natural logarithm of each query's sum of weights;
        zero where there is no query.
    """
    from vitrail.attention.triton.forward import forward_kernel

    call = Call(qkv, pooled, q_index, k_index, q_region, k_region, bias, temperature, fill,
                scale, mask_value)  # fmt: skip
    batch, tokens, _, heads, head_dim = qkv.shape
    groups, queries = q_index.shape
    out = qkv.new_empty(batch, tokens, heads * head_dim)
    lse = qkv.new_empty(batch, groups, heads, queries, dtype=torch.float32)
    blocks = call.tiles.query_tiles
    call.launch(
        forward_kernel, blocks, call.programs(blocks, per_processor=16),
        out=out, lse=lse, KEY_TILES=call.tiles.key_tiles,
    )  # fmt: skip
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
        unique_keys: no key stands in two groups: gradients are written, not added.
        needs: which of the five are wanted; None stands for the others.
    """
    from vitrail.attention.triton.backward import keys_backward, queries_backward

    call = Call(qkv, pooled, q_index, k_index, q_region, k_region, bias, temperature, fill,
                scale, mask_value)  # fmt: skip
    rows = RowGradients(call, unique_keys)
    told = {"grad_out": grad_out.contiguous(), "out": out.contiguous(), "lse": lse}
    blocks = call.tiles.key_tiles
    share = call.programs(blocks, per_processor=6)
    sums = Sums(call, share, blocks, wants_bias=needs[2])
    call.launch(
        keys_backward, blocks, share, **told, **rows.arguments(), **sums.arguments(),
        QUERY_TILES=call.tiles.query_tiles,
    )  # fmt: skip
    heat = sums.heat
    if blocks > 1:
        blocks = call.tiles.query_tiles
        share = call.programs(blocks, per_processor=6)
        heat = call.parts(share, blocks) if temperature is not None else None
        call.launch(
            queries_backward, blocks, share, **told, d_qkv=rows.d_qkv, d_temperature=heat
        )  # fmt: skip
    d_qkv, d_pooled = rows.whole(call)
    d_temperature = None if heat is None else heat.sum((0, 1))
    found = (d_qkv, d_pooled, sums.bias_gradient(bias), d_temperature, sums.fill_gradient())
    like = (qkv, pooled, bias, temperature, fill)
    return tuple(  # type: ignore[return-value]  # five of them
        gradient.to(x.dtype) if wanted and x is not None and gradient is not None else None
        for gradient, x, wanted in zip(found, like, needs, strict=True)
    )
