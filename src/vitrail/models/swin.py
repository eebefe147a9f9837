"""Swin Transformer, on sequences, images and video.

Liu et al. 2021, "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows",
arXiv 2103.14030; Liu et al. 2022, "Video Swin Transformer", arXiv 2106.13230.

Differs from the official code: any input size at run time (no size in a constructor, no mask in a
checkpoint); padding is invisible to tokens and the shift stops per axis, unless the config
names a peer's behaviour (``padding``, ``shift_rule``).
"""

import math
from dataclasses import replace
from typing import ClassVar

from torch import nn

from vitrail.layers import (
    AbsolutePosition,
    Mlp,
    PatchEmbed,
    PatchMerging,
    PreNormBlock,
    WindowAttention,
)
from vitrail.models.backbone import Backbone
from vitrail.models.config import SwinConfig
from vitrail.models.stage import Stage
from vitrail.patterns import Window


class SwinBackbone(Backbone):
    """What Swin and its second version share: how an input becomes tokens."""

    def build_embed(self) -> PatchEmbed:
        """Build the patch embedding, whose patches may overlap."""
        config = self.config
        return PatchEmbed(
            config.in_channels,
            config.dim,
            config.patch,
            overlap=config.patch_overlap,
            norm=config.embed_norm,
            norm_eps=config.norm_eps,
            patch_fit=config.patch_fit,
        )

    def build_position(self) -> AbsolutePosition | None:
        """Build the optional table of absolute positions."""
        grid = self.config.absolute_position
        return None if grid is None else AbsolutePosition(grid, self.config.dim)


class Swin(SwinBackbone):
    """Window attention that alternates between regular and shifted windows, stage by stage."""

    config_class: ClassVar[type[SwinConfig]] = SwinConfig

    def build_stage(self, stage: int) -> Stage:
        """Build the merge that leads to a stage, and its blocks."""
        config = self.config
        dim = config.dim * 2**stage
        merge = None
        if stage > 0:
            merge = PatchMerging(dim // 2, dim, config.merge, norm_eps=config.norm_eps)
        rates = self.drop_path_rates(config)[stage]
        return Stage(merge, [self._block(stage, i, dim, rate) for i, rate in enumerate(rates)])

    def _block(self, stage: int, index: int, dim: int, rate: float) -> nn.Module:
        config = self.config
        attn = WindowAttention(
            dim,
            config.num_heads[stage],
            window_of(config, stage, index),
            qkv_bias=config.qkv_bias,
            bias_lookup=config.bias_lookup,
            mask_value=mask_value(config),
            attn_drop=config.attn_drop,
            proj_drop=config.drop,
        )
        mlp = Mlp(dim, int(dim * config.mlp_ratio), drop=config.drop)
        return PreNormBlock(dim, attn, mlp, drop_path=rate, norm_eps=config.norm_eps)


def window_of(config: SwinConfig, stage: int, index: int) -> Window:
    """Return the pattern of a block: odd blocks are shifted by half a window."""
    size = config.windows[stage]
    shift = tuple(m // 2 if index % 2 else 0 for m in size)
    return Window(size, shift, config.padding, config.shift_rules[stage])


def mask_value(config: SwinConfig) -> float:
    """Return what is added to scores across regions."""
    return -math.inf if config.mask_value is None else config.mask_value


SWIN_TINY = SwinConfig()
SWIN_SMALL = replace(SWIN_TINY, depths=(2, 2, 18, 2), drop_path=0.3)
SWIN_BASE = replace(SWIN_SMALL, dim=128, num_heads=(4, 8, 16, 32), drop_path=0.5)
SWIN_LARGE = replace(SWIN_BASE, dim=192, num_heads=(6, 12, 24, 48), drop_path=0.2)
SWIN_BASE_384 = replace(SWIN_BASE, window=(12, 12))
SWIN_LARGE_384 = replace(SWIN_LARGE, window=(12, 12))

# Official patches of two frames and windows of eight; only height and width are merged.
VIDEO_SWIN_TINY = replace(SWIN_TINY, patch=(2, 4, 4), window=(8, 7, 7), merge=(1, 2, 2),
                          num_classes=400, drop_path=0.1)  # fmt: skip
VIDEO_SWIN_SMALL = replace(VIDEO_SWIN_TINY, depths=(2, 2, 18, 2))
VIDEO_SWIN_BASE = replace(VIDEO_SWIN_SMALL, dim=128, num_heads=(4, 8, 16, 32), drop_path=0.3)

SWIN1D_TINY = replace(SWIN_TINY, patch=(4,), window=(16,), merge=(2,), num_classes=10,
                      drop_path=0.1)  # fmt: skip

# For images of 32 to 128 pixels: fine patches that overlap (ADR 17), small windows,
# three stages. Weights start near 1/sqrt(dim), as the paper's 0.02 does for wider layers.
SWIN_NANO = replace(SWIN_TINY, dim=48, depths=(2, 4, 2), num_heads=(2, 4, 8), patch=(2, 2),
                    patch_overlap=(1, 1), window=(4, 4), num_classes=10,
                    drop_path=0.05, init_std=0.07)  # fmt: skip

# For volumes of one channel, such as MRI and CT: a decoder goes on from half the resolution.
SWIN3D_NANO = replace(SWIN_NANO, in_channels=1, dim=32, depths=(2, 2, 2), patch=(2, 2, 2),
                      patch_overlap=None, window=(4, 4, 4), merge=(2, 2, 2))  # fmt: skip
