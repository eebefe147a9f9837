"""Swin Transformer V2.

Liu et al. 2022, "Swin Transformer V2: Scaling Up Capacity and Resolution", arXiv 2111.09883.
Cosine attention with a learned logit scale, a continuous position bias over log-spaced offsets,
and norms after each branch. Differs from the official code as ``models/swin.py`` does.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import nn

from vitrail.layers import CosineWindowAttention, Mlp, PostNormBlock, PostNormPatchMerging
from vitrail.models.config import Sizes, SwinConfig
from vitrail.models.stage import Stage
from vitrail.models.swin import SwinBackbone, mask_value, window_of
from vitrail.shapes import Size


@dataclass(frozen=True, kw_only=True, slots=True)
class SwinV2Config(SwinConfig):
    """Every number that defines a Swin V2 backbone.

    Args:
        pretrained_window: the window in which the position bias's offsets span -1 to 1: one size,
            or one for each stage; default ``window``. Kept when a trained model's window grows.
    """

    window: Sizes = (8, 8)
    pretrained_window: Sizes | None = None

    def __post_init__(self) -> None:
        # Zero-argument super() does not survive slots=True, which makes a new class.
        SwinConfig.__post_init__(self)
        if self.pretrained_window is not None:
            sizes = self._checked_sizes("pretrained_window")
            object.__setattr__(self, "pretrained_window", sizes)

    @property
    def normalisers(self) -> tuple[Size, ...]:
        """The window of each stage in which offsets span -1 to 1."""
        if self.pretrained_window is None:
            return self.windows
        return self._per_stage(self.pretrained_window)


class SwinV2(SwinBackbone):
    """Cosine window attention with norms after each branch, stage by stage."""

    config: SwinV2Config
    config_class: ClassVar[type[SwinV2Config]] = SwinV2Config

    def build_stage(self, stage: int) -> Stage:
        """Build the merge that leads to a stage, and its blocks."""
        config = self.config
        dim = config.dim * 2**stage
        merge = None
        if stage > 0:
            merge = PostNormPatchMerging(dim // 2, dim, config.merge, norm_eps=config.norm_eps)
        rates = self.drop_path_rates(config)[stage]
        return Stage(merge, [self._block(stage, i, dim, rate) for i, rate in enumerate(rates)])

    def _block(self, stage: int, index: int, dim: int, rate: float) -> nn.Module:
        config = self.config
        attn = CosineWindowAttention(
            dim,
            config.num_heads[stage],
            window_of(config, stage, index),
            normaliser=config.normalisers[stage],
            qkv_bias=config.qkv_bias,
            mask_value=mask_value(config),
            attn_drop=config.attn_drop,
            proj_drop=config.drop,
        )
        mlp = Mlp(dim, int(dim * config.mlp_ratio), drop=config.drop)
        return PostNormBlock(dim, attn, mlp, drop_path=rate, norm_eps=config.norm_eps)


# Stage 4 of a 256-pixel input has 8 x 8 tokens, so the official window-16 models end with 8;
# fine-tuned ones keep the coordinates of their pre-training at 192 pixels (12, 12, 12, 6).
_WINDOWS_16 = ((16, 16), (16, 16), (16, 16), (8, 8))
_WINDOWS_24 = ((24, 24), (24, 24), (24, 24), (12, 12))
_PRETRAINED_192 = ((12, 12), (12, 12), (12, 12), (6, 6))

SWIN_V2_TINY = SwinV2Config()
SWIN_V2_SMALL = replace(SWIN_V2_TINY, depths=(2, 2, 18, 2), drop_path=0.3)
SWIN_V2_BASE = replace(SWIN_V2_SMALL, dim=128, num_heads=(4, 8, 16, 32), drop_path=0.5)
SWIN_V2_LARGE = replace(SWIN_V2_BASE, dim=192, num_heads=(6, 12, 24, 48), drop_path=0.2)
SWIN_V2_TINY_W16 = replace(SWIN_V2_TINY, window=_WINDOWS_16)
SWIN_V2_SMALL_W16 = replace(SWIN_V2_SMALL, window=_WINDOWS_16)
SWIN_V2_BASE_W16 = replace(SWIN_V2_BASE, window=_WINDOWS_16)
SWIN_V2_BASE_W12_192 = replace(SWIN_V2_BASE, window=_PRETRAINED_192, drop_path=0.2,
                               num_classes=21841)  # fmt: skip
SWIN_V2_LARGE_W12_192 = replace(SWIN_V2_LARGE, window=_PRETRAINED_192, num_classes=21841)
SWIN_V2_BASE_22K_W16 = replace(SWIN_V2_BASE, window=_WINDOWS_16, drop_path=0.2,
                               pretrained_window=_PRETRAINED_192)  # fmt: skip
SWIN_V2_LARGE_W16 = replace(SWIN_V2_LARGE, window=_WINDOWS_16, pretrained_window=_PRETRAINED_192)
SWIN_V2_BASE_W24 = replace(SWIN_V2_BASE_22K_W16, window=_WINDOWS_24)
SWIN_V2_LARGE_W24 = replace(SWIN_V2_LARGE_W16, window=_WINDOWS_24)
