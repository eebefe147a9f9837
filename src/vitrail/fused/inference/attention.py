"""Attention by groups with packed projections, which keeps what depends on the grid alone."""

from typing import Any, NamedTuple, TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.attention.arrange import Heads
from vitrail.fused.inference.cache import Cache
from vitrail.fused.inference.layers import PackedLinear, linear_of
from vitrail.fused.parts import DROPS
from vitrail.layers import (
    CosineWindowAttention,
    FocalAttention,
    GroupedAttention,
    NearestAttention,
    WindowAttention,
)
from vitrail.patterns import Groups
from vitrail.shapes import Size

# Their forward and their projection are known; a user's own class may do anything.
_KNOWN = (
    GroupedAttention,
    WindowAttention,
    CosineWindowAttention,
    FocalAttention,
    NearestAttention,
)
_GATHERING = (FocalAttention, NearestAttention)


def packs(layer: nn.Module) -> TypeGuard[GroupedAttention]:
    """Return whether ``PackedAttention`` computes what a layer does."""
    # One that was packed is left without projections.
    qkv = getattr(layer, "qkv", None)
    return type(layer) in _KNOWN and type(qkv) is nn.Linear and type(layer.proj_drop) in DROPS


class Arranged(NamedTuple):
    """What depends on the grid alone: the groups, and the bias of the scores."""

    groups: Groups
    bias: Tensor | None


class PackedAttention(nn.Module):
    """Attention by groups of inference.

    Args:
        layer: the layer; its numbers are copied, and it is left without projections.
        norm: a layer norm of the input, which ``qkv`` takes in.
    """

    layer: Any

    def __init__(self, layer: GroupedAttention, norm: nn.LayerNorm | None = None) -> None:
        super().__init__()
        self.pattern, self.scale = layer.pattern, layer.scale
        self.heads = Heads(layer.num_heads, layer.head_dim)
        weight, bias = layer.qkv.weight, layer.projection_bias()
        self.qkv = PackedLinear(linear_of(weight, bias), norm)
        self.kv = None
        if isinstance(layer, _GATHERING):
            dim = layer.qkv.in_features
            self.kv = PackedLinear(linear_of(weight[dim:], None if bias is None else bias[dim:]))
        plain = type(layer.proj) is nn.Linear  # and not an adapter of the user's
        self.proj = PackedLinear(layer.proj) if plain else layer.proj
        self.attend = layer.attend
        with torch.no_grad():
            self.logit_scale, self.padding_kv = layer.logit_factor(), layer.padding_kv(weight)
        for name in ("qkv", "proj", "attend"):
            delattr(layer, name)
        self.layer = layer
        # A number for each pair that meets: up to a gigabyte in all for an input of 1024 pixels.
        self.arranged = Cache(self._arrange, maxsize=2 if self.kv is not None else 16)

    def _arrange(self, spatial: Size, device: torch.device) -> Arranged:
        groups = self.pattern.groups(spatial, device)
        return Arranged(groups, self.layer.pair_bias(groups, spatial))

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *spatial dim"]:
        """Let every token attend to the tokens that the pattern allows it."""
        groups, bias = self.arranged(self.pattern.grid(tuple(x.shape[1:-1])), x.device)
        cells = None if self.kv is None else self.layer.pool_cells(x)
        out = self.attend.grouped(
            x,
            self.qkv,
            groups,
            heads=self.heads,
            scale=self.scale,
            bias=bias,
            pooled=None if cells is None or self.kv is None else self.kv(cells),
            logit_scale=self.logit_scale,
            padding_kv=self.padding_kv,
        )
        return self.proj(out)
