"""Focal Transformer, and its second version ("fast").

Yang et al. 2021, "Focal Self-attention for Local-Global Interactions in Vision Transformers",
arXiv 2107.00641. Tokens see their own window and its halo finely, and what lies farther away as
pooled windows. The fast version sees the nearest tokens and pooled windows instead, with biases
from a small network of their offsets.

Differs from the official code: any input size at run time (there, the size is a part of the model,
and so are the shapes of its biases); each surrounding token is seen once, none from across the
border (``halo="rolled"`` brings the official four rolls back, ADR 9); padding is invisible
(``padding="visible"`` brings it back, ADR 2); the fast version breaks ties of distance by place.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import nn

from vitrail.layers import (
    ConvMerging,
    FocalAttention,
    Mlp,
    NearestAttention,
    PatchEmbed,
    PreNormBlock,
)
from vitrail.models.backbone import Backbone
from vitrail.models.config import DoublingConfig
from vitrail.models.stage import Stage
from vitrail.patterns import Focal as FocalPattern
from vitrail.patterns import Halo, Nearest, Padding
from vitrail.shapes import Size, as_size


@dataclass(frozen=True, kw_only=True, slots=True)
class FocalFamilyConfig(DoublingConfig):
    """What both versions of Focal Transformer are defined by.

    Args:
        windows: window of each stage, in tokens.
        conv_embed: patches overlap: those of the input by three samples (two before, one after),
            those between stages by one.
    """

    windows: tuple[Size, ...] = ((7, 7), (7, 7), (7, 7), (7, 7))
    conv_embed: bool = False

    def __post_init__(self) -> None:
        DoublingConfig.__post_init__(self)
        self._set_sizes("windows", 1)

    def _set_sizes(self, name: str, minimum: int) -> None:
        """Give each stage's entry one length for each axis; a whole number means all of them."""
        self._check_each_stage(name)
        sizes = (as_size(value, self.axes, name, minimum=minimum) for value in getattr(self, name))
        object.__setattr__(self, name, tuple(sizes))


@dataclass(frozen=True, kw_only=True, slots=True)
class FocalConfig(FocalFamilyConfig):
    """Every number that defines a Focal Transformer.

    Args:
        margins: tokens around the window that are keys too, on each side, in each stage.
        levels: of each stage, the focal window of each pooled level, in cells, odd.
        halo: ``"exact"``, or ``"rolled"`` as in the official code (ADR 9).
        padding: ``"masked"``, or ``"visible"`` as in the official code (ADR 2).
    """

    margins: tuple[Size, ...] = ((3, 3), (3, 3), (3, 3), (0, 0))
    levels: tuple[tuple[Size, ...], ...] = (((7, 7),), ((5, 5),), ((3, 3),), ((1, 1),))
    halo: Halo = "exact"
    padding: Padding = "masked"

    def __post_init__(self) -> None:
        FocalFamilyConfig.__post_init__(self)
        self._set_sizes("margins", 0)
        self._check_each_stage("levels")
        for stage in range(len(self.depths)):
            self.pattern(stage)  # refuses what cannot be

    def pattern(self, stage: int) -> FocalPattern:
        """Return which tokens attend to which in a stage."""
        levels = tuple(as_size(level, self.axes, "levels") for level in self.levels[stage])
        window, margin = self.windows[stage], self.margins[stage]
        return FocalPattern(window, margin, levels, self.halo, self.padding)


@dataclass(frozen=True, kw_only=True, slots=True)
class FocalFastConfig(FocalFamilyConfig):
    """Every number that defines the second version of Focal Transformer.

    Args:
        count: nearest tokens, and nearest pooled windows, that a window sees.
    """

    conv_embed: bool = True
    count: int = 128

    def __post_init__(self) -> None:
        FocalFamilyConfig.__post_init__(self)
        self.pattern(0)  # refuses what cannot be

    def pattern(self, stage: int) -> Nearest:
        """Return which tokens attend to which in a stage."""
        return Nearest(self.windows[stage], self.count)


class FocalFamily(Backbone):
    """What both versions share: patches, merging, and blocks around their attention."""

    config: FocalFamilyConfig

    def build_embed(self) -> PatchEmbed:
        """Build the patch embedding."""
        config = self.config
        kernel = tuple(p + 3 for p in config.patch) if config.conv_embed else config.patch
        return PatchEmbed(
            config.in_channels, config.dim, config.patch,
            kernel=kernel, padding=(2 if config.conv_embed else 0,) * config.axes,
            norm=config.embed_norm, norm_eps=config.norm_eps, patch_fit=config.patch_fit,
        )  # fmt: skip

    def build_stage(self, stage: int) -> Stage:
        """Build the merge that leads to a stage, and its blocks."""
        config, dim = self.config, self.config.stage_dims[stage]
        merge = None
        if stage > 0:
            kernel = tuple(f + 1 for f in config.merge) if config.conv_embed else config.merge
            merge = ConvMerging(
                dim // 2, dim, config.merge,
                kernel=kernel, padding=(1 if config.conv_embed else 0,) * config.axes,
                norm=config.embed_norm, norm_eps=config.norm_eps, patch_fit=config.patch_fit,
            )  # fmt: skip
        blocks: list[nn.Module] = []
        for rate in self.drop_path_rates(config)[stage]:
            mlp = Mlp(dim, int(dim * config.mlp_ratio), drop=config.drop)
            attn = self.build_attention(stage)
            blocks.append(PreNormBlock(dim, attn, mlp, drop_path=rate, norm_eps=config.norm_eps))
        return Stage(merge, blocks)

    def build_attention(self, stage: int) -> nn.Module:
        """Build the attention of one block; what the versions differ in."""
        raise NotImplementedError


class Focal(FocalFamily):
    """Attention to the own window, its halo and pooled windows, with tables of biases."""

    config: FocalConfig  # type: ignore[assignment]  # never assigned another
    config_class: ClassVar[type[FocalConfig]] = FocalConfig

    def build_attention(self, stage: int) -> nn.Module:
        """Build the attention of one block."""
        config = self.config
        return FocalAttention(
            config.stage_dims[stage], config.num_heads[stage], config.pattern(stage),
            qkv_bias=config.qkv_bias, attn_drop=config.attn_drop, proj_drop=config.drop,
        )  # fmt: skip


class FocalFast(FocalFamily):
    """Attention to the nearest tokens and pooled windows, with biases from their offsets."""

    config: FocalFastConfig  # type: ignore[assignment]  # never assigned another
    config_class: ClassVar[type[FocalFastConfig]] = FocalFastConfig

    def build_attention(self, stage: int) -> nn.Module:
        """Build the attention of one block."""
        config = self.config
        return NearestAttention(
            config.stage_dims[stage], config.num_heads[stage], config.pattern(stage),
            qkv_bias=config.qkv_bias, attn_drop=config.attn_drop, proj_drop=config.drop,
        )  # fmt: skip


FOCAL_TINY = FocalConfig()
FOCAL_SMALL = replace(FOCAL_TINY, depths=(2, 2, 18, 2), drop_path=0.3)
FOCAL_BASE = replace(FOCAL_SMALL, dim=128, num_heads=(4, 8, 16, 32), drop_path=0.5)
FOCAL_TINY_CONV = replace(FOCAL_TINY, conv_embed=True)
FOCAL_SMALL_CONV = replace(FOCAL_SMALL, conv_embed=True)
FOCAL_BASE_CONV = replace(FOCAL_BASE, conv_embed=True)
FOCAL_FAST_TINY = FocalFastConfig()
FOCAL_FAST_SMALL = replace(FOCAL_FAST_TINY, depths=(2, 2, 18, 2), drop_path=0.3)
FOCAL_FAST_BASE = replace(FOCAL_FAST_SMALL, dim=128, num_heads=(4, 8, 16, 32), drop_path=0.5)
