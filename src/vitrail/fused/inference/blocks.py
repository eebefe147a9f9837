"""Modules of inference that take the place of blocks."""

import math
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.attention.arrange import Heads
from vitrail.attention.operation import traced
from vitrail.fused.inference.attention import PackedAttention
from vitrail.fused.inference.cache import Cache
from vitrail.fused.inference.layers import (
    ChannelsFirst,
    PackedDepthwiseMlp,
    PackedLinear,
    PackedMlp,
    PackedNorm,
)
from vitrail.fused.inference.linear import Packed
from vitrail.fused.inference.reduction_branch import packed_reduction
from vitrail.fused.inference.window_block import WindowTiles, build_for_blocks, packed_block, tiles
from vitrail.layers import PostNormBlock, ReductionAttention


def _numbers(
    linear: nn.Module, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 0.0
) -> tuple[Packed, float]:
    """Return a packed layer's numbers with those of a norm, and that one's epsilon."""
    linear = cast(PackedLinear, linear)
    return Packed(linear.weight, linear.padded_bias, weight, bias), eps


def _observed(block: nn.Module) -> bool:
    """Return whether a part of a block has a hook."""
    # Not by `modules`, which names them all: on one image that alone is a hundredth of the time.
    return any(
        part._forward_hooks or part._forward_pre_hooks or _observed(part)
        for part in block._modules.values()
        if part is not None
    )


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
        """Return the block's output."""
        return self.mlp(self.attn(self.norm1(x)) + x)  # not in place: a hook may keep what came


class FusedPostNormBlock(nn.Module):
    """A block of inference that normalises what a branch returns, and adds it in the same pass.

    Args:
        block: whose layers it takes.
    """

    def __init__(self, block: PostNormBlock) -> None:
        super().__init__()
        self.attn, self.mlp = block.attn, PackedMlp(block.mlp, residual=False)
        dtype = self.mlp.fc1.dtype
        self.norm1, self.norm2 = PackedNorm(block.norm1, dtype), PackedNorm(block.norm2, dtype)

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *spatial dim"]:
        """Return the block's output."""
        x = self.norm1(self.attn(x), add=x)
        return self.norm2(self.mlp(x), add=x)


class InTiles(nn.Module):
    """Computes a block of windows a few windows at a time, from its first layer to its last sum.

    Where windows are fewer than threads, or a part has a hook, the class beside it
    computes the block layer by layer.
    """

    attn: PackedAttention
    mlp: PackedMlp
    tiles: Cache

    def make_ready(self) -> None:
        """Build the kernel now, not when an input of enough windows comes."""
        build_for_blocks()
        self.tiles = Cache(self.cut)

    def layers(self) -> list[tuple[Packed, float]]:
        """Return qkv and fc1, with norms of what goes in; proj and fc2, of what comes out."""
        raise NotImplementedError

    def cut(
        self, batch: int, spatial: tuple[int, ...], row_bytes: int, threads: int
    ) -> WindowTiles | None:
        """Cut an input's windows into tiles; None where they are too few."""
        groups, _ = self.attn.arranged(spatial, torch.device("cpu"))
        return tiles(groups, batch, math.prod(spatial), row_bytes, threads)

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *spatial dim"]:
        """Return the block's output."""
        attn, spatial = self.attn, tuple(x.shape[1:-1])
        if traced() or _observed(self) or x.device.type != "cpu":
            return super().forward(x)
        groups, bias = attn.arranged(spatial, x.device)
        if attn.attend.kernel(x, groups, attn.heads) != "cpp":
            return super().forward(x)
        row_bytes = x.shape[-1] * x.element_size()
        found = self.tiles(len(x), spatial, row_bytes, torch.get_num_threads())
        if found is None:
            return super().forward(x)
        self.mlp.fc1.check(x)
        layers, eps = zip(*self.layers(), strict=True)
        padding = None if attn.padding_kv is None else attn.padding_kv.view(3, *attn.heads)
        return packed_block(
            x, [number for layer in layers for number in layer], eps,
            found.tensors(), found.together, bias, attn.logit_scale, padding,
            self.mlp.fc1.out_features, attn.heads.number, attn.scale, attn.attend.mask_value,
        )  # fmt: skip


class WindowBlock(InTiles, FusedBlock):
    """A block of windows that normalises before each branch.

    Args:
        norm: of the first branch, whether or not the attention layer has it too.
        attn: the attention layer.
        mlp: the second branch, with its norm and its sum.
        normed: the attention layer normalises.
    """

    def __init__(
        self, norm: nn.LayerNorm, attn: PackedAttention, mlp: PackedMlp, *, normed: bool
    ) -> None:
        packed = PackedNorm(norm, mlp.fc1.dtype)
        super().__init__(nn.Identity() if normed else packed, attn, mlp)
        self.first = packed.weight, packed.bias, packed.eps  # not a module: it is not called
        self.make_ready()

    def layers(self) -> list[tuple[Packed, float]]:
        """Return the four layers, and the norms of what goes into two of them."""
        attn, mlp = self.attn, self.mlp
        second = mlp.fc1.norm_weight, mlp.fc1.norm_bias, mlp.fc1.eps
        return [
            _numbers(attn.qkv, *self.first), _numbers(attn.proj),
            _numbers(mlp.fc1, *second), _numbers(mlp.fc2),
        ]  # fmt: skip


class PostNormWindowBlock(InTiles, FusedPostNormBlock):
    """A block of windows that normalises what each branch returns.

    Args:
        block: whose layers it takes.
    """

    def __init__(self, block: PostNormBlock) -> None:
        super().__init__(block)
        self.make_ready()

    def layers(self) -> list[tuple[Packed, float]]:
        """Return the four layers, and the norms of what comes out of two of them."""
        attn, mlp, first, second = self.attn, self.mlp, self.norm1, self.norm2
        return [
            _numbers(attn.qkv), _numbers(attn.proj, first.weight, first.bias, first.eps),
            _numbers(mlp.fc1), _numbers(mlp.fc2, second.weight, second.bias, second.eps),
        ]  # fmt: skip


class ReductionBlock(FusedBlock):
    """A block whose tokens attend to a coarser grid: its first branch in one operation.

    Where a part has a hook, or an axis is shorter than a cell of the grid, the class
    above computes the branch layer by layer.

    Args:
        norm: of the first branch.
        attn: the attention layer, which reduces by a convolution or not at all.
        mlp: the second branch, with its norm and its sum.
    """

    attn: ReductionAttention

    def __init__(
        self, norm: nn.LayerNorm, attn: ReductionAttention, mlp: PackedMlp | PackedDepthwiseMlp
    ) -> None:
        first = PackedNorm(norm, mlp.fc1.dtype)
        super().__init__(first, attn, mlp)
        grid = first if attn.norm is None else PackedNorm(attn.norm, mlp.fc1.dtype)
        # Of what goes into queries and into keys; not modules: they are not called.
        self.norms = [(norm.weight, norm.bias, norm.eps) for norm in (first, grid)]
        self.reduction = () if attn.sr is None else tuple(attn.sr.kernel_size)
        self.groups = Cache(attn.pattern.groups)

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *spatial dim"]:
        """Return the block's output."""
        spatial, attn = x.shape[1:-1], self.attn
        if traced() or _observed(self):
            return super().forward(x)
        cell = self.reduction or (1,) * len(spatial)
        if not all(n // k for n, k in zip(spatial, cell, strict=True)):
            return super().forward(x)
        groups = self.groups(attn.pattern.grid(tuple(spatial)), x.device)
        heads = Heads(attn.num_heads, attn.head_dim)
        if attn.attend.kernel(x, groups, heads, bias=False, apart=True) != "cpp":
            return super().forward(x)
        self.mlp.fc1.check(x)
        layers = [
            _numbers(attn.q, *self.norms[0]), _numbers(attn.kv, *self.norms[1]),
            _numbers(attn.proj),
        ]  # fmt: skip
        if attn.sr is not None:
            layers.append(_numbers(cast(ChannelsFirst, attn.sr).convolution.linear))
        packed, eps = zip(*layers, strict=True)
        numbers = [number for layer in packed for number in layer]
        x = packed_reduction(x, numbers, eps, self.reduction, attn.num_heads, attn.scale)
        return self.mlp(x)
