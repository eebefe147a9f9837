"""Modules of inference that take the place of blocks."""

import math
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.attention.operation import traced
from vitrail.fused.block import Strips, packed_block, strips
from vitrail.fused.kernel import Packed
from vitrail.fused.memo import Memo
from vitrail.fused.modules import PackedDepthwiseMlp, PackedLinear, PackedMlp, PackedNorm
from vitrail.layers import PostNormBlock, WindowAttention


def _numbers(linear: nn.Module, norm: PackedNorm | None = None) -> tuple[Packed, float]:
    """Return a packed layer's numbers with those of a norm, and that one's epsilon."""
    linear = cast(PackedLinear, linear)
    if norm is None:
        return Packed(linear.weight, linear.padded_bias, None, None), 0.0
    return Packed(linear.weight, linear.padded_bias, norm.weight, norm.bias), norm.eps


class FusedBlock(nn.Module):
    """A block of inference: two branches, each with its norm and its sum inside where it can.

    Args:
        norm: of the first branch; the identity where the attention layer normalises.
        attn: the attention layer.
        mlp: the second branch, with its norm and its sum.
    """

    def __init__(
        self, norm: nn.Module, attn: nn.Module, mlp: PackedMlp | PackedDepthwiseMlp
    ) -> None:
        super().__init__()
        self.norm1 = norm
        self.attn = attn
        self.mlp = mlp

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *spatial dim"]:
        """Return tokens that have looked around."""
        return self.mlp(self.attn(self.norm1(x)).add_(x))


class FusedPostNormBlock(nn.Module):
    """A block of inference that normalises what a branch returns, and adds it in the same pass.

    Args:
        block: whose layers it takes.
    """

    def __init__(self, block: PostNormBlock) -> None:
        super().__init__()
        self.attn, self.norm1 = block.attn, PackedNorm(block.norm1)
        self.mlp, self.norm2 = PackedMlp(block.mlp, residual=False), PackedNorm(block.norm2)

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *spatial dim"]:
        """Return tokens that have looked around."""
        x = self.norm1(self.attn(x), add=x)
        return self.norm2(self.mlp(x), add=x)


class InStrips(nn.Module):
    """Computes a block of windows a few windows at a time, from its first layer to its last sum.

    Where windows are fewer than threads, or a hook waits for what is inside, the class beside it
    computes the block layer by layer.
    """

    attn: WindowAttention
    mlp: PackedMlp
    strips: Memo

    def layers(self) -> list[tuple[Packed, float]]:
        """Return qkv and fc1, with norms of what goes in; proj and fc2, of what comes out."""
        raise NotImplementedError

    def cut(
        self, batch: int, spatial: tuple[int, ...], row_bytes: int, threads: int
    ) -> Strips | None:
        """Cut an input's windows into strips; None where they are too few."""
        window, amount = self.attn.pattern.fit(spatial)
        places = self.attn.places(spatial, window, amount, torch.device("cpu"))
        return strips(places, batch, math.prod(spatial), row_bytes, threads)

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *spatial dim"]:
        """Return tokens that have looked around."""
        attn, spatial = self.attn, tuple(x.shape[1:-1])
        window, amount = attn.pattern.fit(spatial)
        if traced() or self._observed():
            return super().forward(x)
        if attn.kernel(x, window, amount) != "cpp":
            return super().forward(x)
        row_bytes = x.shape[-1] * x.element_size()
        found = self.strips(len(x), spatial, row_bytes, torch.get_num_threads())
        if found is None:
            return super().forward(x)
        self.mlp.fc1.check(x)
        layers, eps = zip(*self.layers(), strict=True)
        return packed_block(
            x, [number for layer in layers for number in layer], eps,
            found.tensors(), found.together, attn.bias(window), attn.temperature(), attn.fill(x),
            self.mlp.fc1.out_features, attn.num_heads, attn.scale, attn.attend.mask_value,
        )  # fmt: skip

    def _observed(self) -> bool:
        """Tell whether a part of it is waited for by a hook."""
        parts = (part for part in self.modules() if part is not self)
        return any(part._forward_hooks or part._forward_pre_hooks for part in parts)


class WindowBlock(InStrips, FusedBlock):
    """A block of windows that normalises before each branch.

    Args:
        norm: of the first branch, whether or not the attention layer has it too.
        attn: the attention layer.
        mlp: the second branch, with its norm and its sum.
        normed: the attention layer normalises.
    """

    def __init__(
        self, norm: nn.LayerNorm, attn: WindowAttention, mlp: PackedMlp, *, normed: bool
    ) -> None:
        packed = PackedNorm(norm)
        super().__init__(nn.Identity() if normed else packed, attn, mlp)
        self.norm = packed
        self.strips = Memo(self.cut)

    def layers(self) -> list[tuple[Packed, float]]:
        """Return the four layers, and the norms of what goes into two of them."""
        attn, fc1 = self.attn, self.mlp.fc1
        first = Packed(fc1.weight, fc1.padded_bias, fc1.norm_weight, fc1.norm_bias)
        return [
            _numbers(attn.qkv, self.norm), _numbers(attn.proj),
            (first, fc1.eps), _numbers(self.mlp.fc2),
        ]  # fmt: skip


class PostNormWindowBlock(InStrips, FusedPostNormBlock):
    """A block of windows that normalises what each branch returns.

    Args:
        block: whose layers it takes.
    """

    def __init__(self, block: PostNormBlock) -> None:
        super().__init__(block)
        self.strips = Memo(self.cut)

    def layers(self) -> list[tuple[Packed, float]]:
        """Return the four layers, and the norms of what comes out of two of them."""
        return [
            _numbers(self.attn.qkv), _numbers(self.attn.proj, self.norm1),
            _numbers(self.mlp.fc1), _numbers(self.mlp.fc2, self.norm2),
        ]  # fmt: skip
