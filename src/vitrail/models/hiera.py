"""Hiera: a hierarchy without convolutions between stages, whose queries are pooled instead.

Ryali et al. 2023, "Hiera: A Hierarchical Vision Transformer without the Bells-and-Whistles",
arXiv 2306.00989.

Differs from the official code: tokens stay on their grid (there, they are ordered by windows from
the first to the last block); any input size and rank at run time, as positions are resized to the
grid at hand and windows and cells that are not full are padded; no masked pre-training.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import nn

from vitrail.errors import UsageError
from vitrail.layers import (
    AbsolutePosition,
    GroupedAttention,
    Mlp,
    PatchEmbed,
    PooledQueryAttention,
    PoolingBlock,
    PreNormBlock,
)
from vitrail.models.backbone import Backbone
from vitrail.models.config import DoublingConfig
from vitrail.models.stage import Stage
from vitrail.patterns import Global, PooledQueries, Window
from vitrail.shapes import Size, as_size


@dataclass(frozen=True, kw_only=True, slots=True)
class HieraConfig(DoublingConfig):
    """Every number that defines a Hiera.

    Args:
        window: tokens per axis of the first stage's windows (the paper's mask units); every stage
            divides them by ``merge``.
        windowed: whether the blocks of a stage attend within windows, or to all tokens. The block
            that leads to a stage attends as the stage before.
        patch_kernel: samples that a patch spans per axis, its neighbours' included.
        positions: grid that the table of positions was made for, in tokens.
        merge: tokens per axis of a cell, which is a token of the next stage.
        feature_norm_eps: added to the variance by the norms of maps, if there are any.
    """

    depths: tuple[int, ...] = (1, 2, 7, 2)
    num_heads: tuple[int, ...] = (1, 2, 4, 8)
    window: Size = (8, 8)
    windowed: tuple[bool, ...] = (True, True, False, False)
    patch_kernel: Size = (7, 7)
    positions: Size = (56, 56)
    norm_eps: float = 1e-6
    feature_norm_eps: float = 1e-5
    embed_norm: bool = False
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        DoublingConfig.__post_init__(self)
        self._check_each_stage("windowed")
        for name in ("window", "patch_kernel", "positions"):
            object.__setattr__(self, name, as_size(getattr(self, name), self.axes, name))
        cells = [f**self.windowed_merges for f in self.merge]
        if any(m % c for m, c in zip(self.window, cells, strict=True)):
            fit = tuple(max(1, m // c) * c for m, c in zip(self.window, cells, strict=True))
            raise UsageError(
                f"window={self.window} with {self.windowed_merges} merges of {self.merge} tokens",
                f"a window that cells of {tuple(cells)} tokens divide",
                f"use window={fit}",
            )
        if any(k % 2 == 0 or k < p for k, p in zip(self.patch_kernel, self.patch, strict=True)):
            raise UsageError(
                f"patch_kernel={self.patch_kernel} for patch={self.patch}",
                "odd lengths, at least those of the patch",
                f"use patch_kernel={tuple(2 * p - 1 for p in self.patch)}",
            )

    @property
    def windowed_merges(self) -> int:
        """How many merges divide the window: those into and out of stages that have windows."""
        last = len(self.depths) - 1
        return max(
            (min(s + 1, last) for s, within in enumerate(self.windowed) if within), default=0
        )


class Hiera(Backbone):
    """Windows, then all tokens; the first block of a stage pools its queries."""

    config: HieraConfig
    config_class: ClassVar[type[HieraConfig]] = HieraConfig
    norm_pooled = True

    def build_embed(self) -> PatchEmbed:
        """Build the patch embedding, whose patches overlap."""
        config = self.config
        return PatchEmbed(
            config.in_channels,
            config.dim,
            config.patch,
            kernel=config.patch_kernel,
            norm=config.embed_norm,
            norm_eps=config.norm_eps,
            patch_fit=config.patch_fit,
        )

    def build_feature_norm(self, dim: int) -> nn.Module:
        """Build the norm of a stage's map."""
        return nn.LayerNorm(dim, eps=self.config.feature_norm_eps)

    def build_position(self) -> AbsolutePosition:
        """Build the table of positions of the grid."""
        return AbsolutePosition(self.config.positions, self.config.dim)

    def build_stage(self, stage: int) -> Stage:
        """Build the blocks of a stage; from the second stage on, the first one pools."""
        rates = self.drop_path_rates(self.config)[stage]
        return Stage(None, [
            self._pooling(stage, rate) if stage > 0 and index == 0 else self._block(stage, rate)
            for index, rate in enumerate(rates)
        ])  # fmt: skip

    def _pattern(self, stage: int) -> Window | Global:
        config = self.config
        if not config.windowed[stage]:
            return Global()
        size = tuple(m // f**stage for m, f in zip(config.window, config.merge, strict=True))
        return Window(size, (0,) * config.axes)

    def _block(self, stage: int, rate: float) -> PreNormBlock:
        config, dim = self.config, self.config.stage_dims[stage]
        attn = GroupedAttention(
            dim,
            config.num_heads[stage],
            self._pattern(stage),
            qkv_bias=config.qkv_bias,
            attn_drop=config.attn_drop,
            proj_drop=config.drop,
        )
        mlp = Mlp(dim, int(dim * config.mlp_ratio), drop=config.drop)
        return PreNormBlock(dim, attn, mlp, drop_path=rate, norm_eps=config.norm_eps)

    def _pooling(self, stage: int, rate: float) -> PoolingBlock:
        config, dims = self.config, self.config.stage_dims
        attn = PooledQueryAttention(
            dims[stage - 1],
            dims[stage],
            config.num_heads[stage],
            PooledQueries(self._pattern(stage - 1), config.merge),
            qkv_bias=config.qkv_bias,
            attn_drop=config.attn_drop,
            proj_drop=config.drop,
        )
        mlp = Mlp(dims[stage], int(dims[stage] * config.mlp_ratio), drop=config.drop)
        return PoolingBlock(
            dims[stage - 1], dims[stage], attn, mlp, drop_path=rate, norm_eps=config.norm_eps
        )


HIERA_TINY = HieraConfig()
HIERA_SMALL = replace(HIERA_TINY, depths=(1, 2, 11, 2))
HIERA_BASE = replace(HIERA_TINY, depths=(2, 3, 16, 3))
