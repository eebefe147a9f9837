"""Window attention written once more, from the words of its pattern: dense."""

import math

import torch
from torch import Tensor

from tests.laws import words
from vitrail.layers import ContinuousBias, CosineWindowAttention, RelativeBias, WindowAttention
from vitrail.shapes import Size


def attend(layer: WindowAttention, x: Tensor) -> Tensor:
    """Return what ``layer`` must return, for masked padding and biases by true offset."""
    spatial, heads = tuple(x.shape[1:-1]), layer.num_heads
    tokens = x.flatten(1, -2)
    q, k, v = (
        part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in _projected(layer, tokens)
    )
    if isinstance(layer, CosineWindowAttention):
        q = q / q.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        k = k / k.norm(dim=-1, keepdim=True).clamp(min=1e-12)  # a key of padding is zero
        scores = q @ k.mT * layer.logit_scale.exp().clamp(max=100)
    else:
        scores = q @ k.mT / math.sqrt(q.shape[-1])
    allowed = words.allowed(layer.pattern, spatial)
    scores = (scores + _bias(layer, spatial, allowed)).masked_fill(~allowed, -math.inf)
    out = (scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2)
    return layer.proj(out).unflatten(1, spatial)


def _projected(layer: WindowAttention, tokens: Tensor) -> tuple[Tensor, ...]:
    qkv = tokens @ layer.qkv.weight.T
    if isinstance(layer, CosineWindowAttention):
        q, k, v = qkv.chunk(3, dim=-1)
        assert layer.q_bias is not None
        assert layer.v_bias is not None
        return q + layer.q_bias, k, v + layer.v_bias
    return (qkv + layer.qkv.bias).chunk(3, dim=-1)


def _bias(layer: WindowAttention, spatial: Size, allowed: Tensor) -> Tensor:
    """Return ``[heads, queries, keys]``: looked up by where two tokens lie, on the whole grid."""
    place = torch.cartesian_prod(*(torch.arange(n) for n in spatial)).view(-1, len(spatial))
    offset = place[:, None] - place[None, :]
    if isinstance(layer.bias, ContinuousBias):
        spans = torch.tensor([max(1, m - 1) for m in layer.bias.normaliser])
        near = 8 * offset / spans
        coordinates = near.sign() * (1 + near.abs()).log2() / 3
        hidden = coordinates.to(layer.proj.weight.dtype)
        return 16 * layer.bias.mlp(hidden).sigmoid().permute(2, 0, 1)
    assert isinstance(layer.bias, RelativeBias)
    lengths = [2 * m - 1 for m in layer.bias.window]
    table = layer.bias.table.view(*lengths, -1)
    # Pairs that may not meet can be farther apart than the table reaches; any row will do.
    row = [(offset[..., a] * allowed + m - 1).long() for a, m in enumerate(layer.bias.window)]
    return table[tuple(row)].permute(2, 0, 1)
