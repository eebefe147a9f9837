"""Pyramid Vision Transformer v2.

Wang et al. 2022, "PVT v2: Improved Baselines with Pyramid Vision Transformer", arXiv 2106.13797.
Patches overlap, the perceptron looks at its neighbours (which carries positions, so that
there are no positions), and the linear variant attends to a grid pooled to a fixed size.

Differs from the official code: the keys are never none (ADR 7).
"""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import nn

from vitrail.layers import ConvMerging, DepthwiseMlp, Mlp, PatchEmbed
from vitrail.models.pvt import Pyramid, PyramidConfig, reduced
from vitrail.models.stage import Stage
from vitrail.patterns import Pooled
from vitrail.shapes import Size, as_size


@dataclass(frozen=True, kw_only=True, slots=True)
class PVTV2Config(PyramidConfig):
    """Every number that defines a PVT v2 backbone.

    Args:
        patch_kernel: input samples that a patch spans, neighbours included, per axis.
        merge_kernel: tokens that a merge spans, neighbours included, per axis.
        pooled: keys per axis to which every stage's grid is averaged (linear attention), instead
            of ``reductions``; None for no pooling.
    """

    patch_kernel: Size = (7, 7)
    merge_kernel: Size = (3, 3)
    pooled: Size | None = None

    def __post_init__(self) -> None:
        PyramidConfig.__post_init__(self)
        for name in ("patch_kernel", "merge_kernel", "pooled"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, as_size(value, self.axes, name))


class PVTV2(Pyramid):
    """Attention to a reduced or pooled grid, overlapping patches, convolutions in perceptrons."""

    stage_normed: ClassVar[bool] = True

    config: PVTV2Config
    config_class: ClassVar[type[PVTV2Config]] = PVTV2Config

    def build_embed(self) -> PatchEmbed:
        """Build the first stage's patch embedding."""
        return self.build_patches(0, PatchEmbed, self.config.patch_kernel)

    def build_norm(self) -> None:
        """Build no norm: every stage ends with its own, the last one too."""

    def build_stage(self, stage: int) -> Stage:
        """Build the patch embedding that leads to a stage, its blocks and its norm."""
        config = self.config
        pooled = config.pooled
        merge = self.build_patches(stage, ConvMerging, config.merge_kernel) if stage > 0 else None
        pattern = reduced(config.reductions[stage]) if pooled is None else Pooled(pooled)

        def mlp(dim: int, hidden: int) -> Mlp:
            relu = pooled is not None
            return DepthwiseMlp(dim, hidden, config.axes, relu=relu, drop=config.drop)

        norm = nn.LayerNorm(config.dims[stage], eps=config.norm_eps)
        return Stage(merge, self.build_blocks(stage, pattern, mlp), norm=norm)

    def group_matcher(self, coarse: bool = True) -> dict[str, Any]:
        """Return timm's patterns; its PVT v2 counts stages as layers, so ``coarse`` is always."""
        del coarse
        return super().group_matcher(coarse=True)

    def reset_parameters(self) -> None:
        """Initialise as the official code does: convolutions by what they fan out to."""
        super().reset_parameters()
        for module in self.modules():
            if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
                fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


PVT_V2_B1 = PVTV2Config()
PVT_V2_B0 = replace(PVT_V2_B1, dims=(32, 64, 160, 256))
PVT_V2_B2 = replace(PVT_V2_B1, depths=(3, 4, 6, 3))
PVT_V2_B2_LI = replace(PVT_V2_B2, pooled=(7, 7))
PVT_V2_B3 = replace(PVT_V2_B1, depths=(3, 4, 18, 3), drop_path=0.3)
PVT_V2_B4 = replace(PVT_V2_B1, depths=(3, 8, 27, 3), drop_path=0.3)
PVT_V2_B5 = replace(PVT_V2_B1, depths=(3, 6, 40, 3), mlp_ratios=(4.0,) * 4, drop_path=0.3)
