"""Pyramid Vision Transformer.

Wang et al. 2021, "Pyramid Vision Transformer: A Versatile Backbone for Dense Prediction without
Convolutions", arXiv 2102.12122. Every token attends to a grid of keys that a convolution reduces.

Differs from the official code: any input size at run time, as each stage's positions are resized
to the grid at hand (there, a stage whose grid has as many tokens as the first stage's table is
left as it is, and fails); an input that nothing divides is padded, and the keys are never none
(ADR 7); values are dropped after the first stage's positions only (``drop``, which the published
models do not use).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import nn

from vitrail.errors import UsageError
from vitrail.layers import (
    AbsolutePosition,
    ConvMerging,
    Mlp,
    PatchEmbed,
    PrefixTokens,
    PreNormBlock,
    ReductionAttention,
)
from vitrail.models.backbone import Backbone
from vitrail.models.config import MergingConfig
from vitrail.models.stage import Stage
from vitrail.patterns import Global, Pooled, Reduced
from vitrail.shapes import Size, as_size


@dataclass(frozen=True, kw_only=True, slots=True)
class PyramidConfig(MergingConfig):
    """What both versions of PVT are defined by.

    Args:
        dims: channels of each stage.
        mlp_ratios: hidden channels of the perceptron over channels, in each stage.
        reductions: tokens per axis that one key stands for, in each stage.
        norm_eps: added to the variance by the norms of blocks and after them.
        embed_norm_eps: added to the variance by the norms of embeddings and of reduced keys;
            transformers has ``norm_eps`` there.
    """

    dims: tuple[int, ...] = (64, 128, 320, 512)
    depths: tuple[int, ...] = (2, 2, 2, 2)
    num_heads: tuple[int, ...] = (1, 2, 5, 8)
    mlp_ratios: tuple[float, ...] = (8.0, 8.0, 4.0, 4.0)
    reductions: tuple[Size, ...] = ((8, 8), (4, 4), (2, 2), (1, 1))
    norm_eps: float = 1e-6
    embed_norm_eps: float = 1e-5
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        for name in ("dims", "mlp_ratios", "reductions"):
            self._check_each_stage(name)
        MergingConfig.__post_init__(self)
        self._set_sizes("reductions")
        for name, example in (("dims", self.num_heads), ("mlp_ratios", (4.0,) * len(self.depths))):
            if any(value <= 0 for value in getattr(self, name)):
                raise UsageError(
                    f"{name}={getattr(self, name)}", "more than 0 each", f"use {name}={example}"
                )

    @property
    def stage_dims(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return self.dims

    def _set_sizes(self, name: str) -> None:
        """Give each stage's entry one length for each axis; a whole number means all of them."""
        sizes = (as_size(value, self.axes, name) for value in getattr(self, name))
        object.__setattr__(self, name, tuple(sizes))


@dataclass(frozen=True, kw_only=True, slots=True)
class PVTConfig(PyramidConfig):
    """Every number that defines a PVT backbone.

    Args:
        positions: grid that each stage's table of positions was made for, in tokens.
        prefix: tokens that stand before the last stage's grid, the first of them for the head; 0
            for none, as detectors have it, with ``global_pool="avg"``.
    """

    positions: tuple[Size, ...] = ((56, 56), (28, 28), (14, 14), (7, 7))
    prefix: int = 1
    global_pool: Literal["avg", "token", ""] = "token"

    def __post_init__(self) -> None:
        self._check_each_stage("positions")
        PyramidConfig.__post_init__(self)
        self._set_sizes("positions")
        if self.prefix < 0:
            raise UsageError(f"prefix={self.prefix}", "0 or more", "use prefix=1")
        if self.prefix and any(r > 1 for r in self.reductions[-1]):
            raise UsageError(
                f"reductions[-1]={self.reductions[-1]} beside prefix={self.prefix}",
                "a last stage that reduces nothing, or no prefix tokens",
                f"end reductions with {(1,) * self.axes}, or use prefix=0 and global_pool='avg'",
            )


class Pyramid(Backbone):
    """What both versions of PVT share: attention to a reduced grid, stage by stage."""

    def build_patches(
        self, stage: int, kind: type[PatchEmbed], kernel: Size | None = None
    ) -> PatchEmbed:
        """Build what makes the tokens of a stage from those before, or from the input."""
        config: PyramidConfig = self.config
        return kind(
            config.in_channels if stage == 0 else config.dims[stage - 1],
            config.dims[stage],
            config.patch if stage == 0 else config.merge,
            kernel=kernel,
            norm=config.embed_norm,
            norm_eps=config.embed_norm_eps,
            patch_fit=config.patch_fit,
        )

    def build_blocks(
        self,
        stage: int,
        pattern: Reduced | Pooled | Global,
        mlp: Callable[[int, int], Mlp],
    ) -> list[nn.Module]:
        """Build a stage's blocks.

        Args:
            stage: number of the stage.
            pattern: the groups of tokens that attend to one another.
            mlp: makes a perceptron for channels and hidden channels.
        """
        config: PyramidConfig = self.config
        dim = config.dims[stage]
        blocks: list[nn.Module] = []
        for rate in self.drop_path_rates(config)[stage]:
            attn = ReductionAttention(
                dim,
                config.num_heads[stage],
                pattern,
                qkv_bias=config.qkv_bias,
                norm_eps=config.embed_norm_eps,
                attn_drop=config.attn_drop,
                proj_drop=config.drop,
            )
            branch = mlp(dim, int(dim * config.mlp_ratios[stage]))
            block = PreNormBlock(dim, attn, branch, drop_path=rate, norm_eps=config.norm_eps)
            blocks.append(block)
        return blocks


def reduced(reduction: Sequence[int], prefix: int = 0) -> Reduced | Global:
    """Return the pattern of a reduction; where it is 1, the tokens are the keys."""
    return Global(prefix) if all(r == 1 for r in reduction) else Reduced(tuple(reduction), prefix)


class PVT(Pyramid):
    """Attention to a reduced grid, learned positions in every stage, a token for the head."""

    config: PVTConfig
    config_class: ClassVar[type[PVTConfig]] = PVTConfig

    def build_embed(self) -> PatchEmbed:
        """Build the first stage's patch embedding."""
        return self.build_patches(0, PatchEmbed)

    def build_stage(self, stage: int) -> Stage:
        """Build the patch embedding that leads to a stage, its positions and its blocks."""
        config, dim = self.config, self.config.dims[stage]
        prefix = config.prefix if stage == len(config.depths) - 1 else 0
        return Stage(
            self.build_patches(stage, ConvMerging) if stage > 0 else None,
            self.build_blocks(
                stage,
                reduced(config.reductions[stage], prefix),
                lambda dim, hidden: Mlp(dim, hidden, drop=config.drop),
            ),
            position=AbsolutePosition(config.positions[stage], dim, resize="linear"),
            prefix=PrefixTokens(dim, prefix, position=True) if prefix else None,
        )


PVT_TINY = PVTConfig()
PVT_SMALL = replace(PVT_TINY, depths=(3, 4, 6, 3))
PVT_MEDIUM = replace(PVT_TINY, depths=(3, 4, 18, 3), drop_path=0.3)
PVT_LARGE = replace(PVT_TINY, depths=(3, 8, 27, 3), drop_path=0.3)
