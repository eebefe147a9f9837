"""Attention by groups on a GPU: shapes and strides in, fresh tensors out.

Triton is imported where a kernel is launched: without it, this module can still say so.
"""

import importlib.util
import os
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from vitrail.attention.call import Gradients, KernelCall
from vitrail.attention.problem import Problem
from vitrail.attention.triton.call import Prepared, RowGradients, Sums

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
    if problem.query_bias:
        return "a bias that depends on the query: the Triton kernels have none"
    return None


def forward(
    call: KernelCall,
) -> tuple[Float[Tensor, "batch tokens dim"], Float[Tensor, "batch groups heads queries"]]:
    """Return what ``plain.forward`` returns; the logarithm is 0 where there is no query."""
    from vitrail.attention.triton.forward import forward_kernel

    ready = Prepared(call)
    out = call.qkv.new_empty(ready.batch, ready.tokens, ready.heads * ready.head_dim)
    shape = (ready.batch, ready.groups, ready.heads, ready.queries)
    lse = call.qkv.new_empty(shape, dtype=torch.float32)
    blocks = ready.tiles.query_tiles
    ready.launch(
        forward_kernel, blocks, ready.programs(blocks, per_processor=16),
        out=out, lse=lse, KEY_TILES=ready.tiles.key_tiles,
    )  # fmt: skip
    return out, lse


def backward(
    call: KernelCall,
    grad_out: Float[Tensor, "batch tokens dim"],
    out: Float[Tensor, "batch tokens dim"],
    lse: Float[Tensor, "batch groups heads queries"],
    needs: Sequence[bool],
) -> Gradients:
    """Return what ``plain.backward`` returns."""
    from vitrail.attention.triton.backward import keys_backward, queries_backward

    ready = Prepared(call)
    rows = RowGradients(ready)
    given = {"grad_out": grad_out.contiguous(), "out": out.contiguous(), "lse": lse}
    blocks = ready.tiles.key_tiles
    share = ready.programs(blocks, per_processor=6)
    sums = Sums(ready, share, blocks, wants_bias=needs[2])
    ready.launch(
        keys_backward, blocks, share, **given, **rows.arguments(), **sums.arguments(),
        QUERY_TILES=ready.tiles.query_tiles,
    )  # fmt: skip
    d_factor = sums.d_factor
    if blocks > 1:
        blocks = ready.tiles.query_tiles
        share = ready.programs(blocks, per_processor=6)
        d_factor = ready.parts(share, blocks) if call.logit_scale is not None else None
        ready.launch(
            queries_backward, blocks, share, **given, d_qkv=rows.d_qkv, d_logit_scale=d_factor
        )  # fmt: skip
    d_logit_scale = None if d_factor is None else d_factor.sum((0, 1))
    found = (*rows.whole(), sums.bias_gradient(call.bias), d_logit_scale, sums.padding_gradient())
    return call.gradients(found, needs)
