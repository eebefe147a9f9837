"""MaxViT: in every block a convolution, attention within windows, attention across a grid.

Tu et al. 2022, "MaxViT: Multi-Axis Vision Transformer", arXiv 2204.01697.

Differs from the official code: any input size and rank at run time, as window and grid are of the
config and never follow from the input's size, and as padding is invisible to tokens (ADR 35). The
convolution that shortens the grid before a stage's first block is that stage's ``merge`` here, and
in the first stage the end of the embedding: a stage's blocks are all at one resolution. Timm's
``maxvit_*_tf`` and the official weights are the default; fields bring torchvision's model
(``MAXVIT_T``): symmetric padding, the exact GELU, other shortcuts, scores over the root of ``dim``.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.layers import ConvStem, MBConv, Mlp, PreNormBlock, WindowAttention
from vitrail.layers.mbconv import ConvPadding, ShortcutPool
from vitrail.layers.mlp import Act
from vitrail.models.backbone import Backbone
from vitrail.models.config import MergingConfig, check_width
from vitrail.models.stage import Stage
from vitrail.patterns import Grid, Window
from vitrail.shapes import Size, as_size

Scale = Literal["head", "dim"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MaxViTConfig(MergingConfig):
    """Every number that defines a MaxViT.

    Args:
        dims: channels of each stage.
        window: tokens per axis of the windows.
        grid: tokens per axis of a group of grid attention, spread over the whole map.
        mlp_ratio: hidden channels of the perceptrons over channels.
        stem_dim: channels of the stem.
        expand: channels within a convolution block, over the stage's.
        squeeze: channels of its squeeze-and-excitation, over the stage's.
        act: activation of convolutions and perceptrons.
        conv_padding: where zeros stand around a length that a convolution shortens.
        shortcut_pool: tokens that a strided shortcut averages.
        shortcut_proj: project a strided shortcut also where the channels stay the same.
        stem_bias: the stem's first convolution has a bias.
        head_bias: the head has a bias.
        scale: scores are divided by the root of a ``"head"``'s channels, or of ``"dim"``.
        conv_norm_eps: added to the variance by the batch norms.
        momentum: weight of a batch in their running statistics.
        patch: input samples per token and axis of the first stage: the strides of the stem and of
            the first convolution block, which is ``merge``, multiplied.
    """

    dims: tuple[int, ...] = (64, 128, 256, 512)
    depths: tuple[int, ...] = (2, 2, 5, 2)
    num_heads: tuple[int, ...] = (2, 4, 8, 16)
    window: Size = (7, 7)
    grid: Size = (7, 7)
    mlp_ratio: float = 4.0
    stem_dim: int = 64
    expand: float = 4.0
    squeeze: float = 0.25
    act: Act = "gelu_tanh"
    conv_padding: ConvPadding = "same"
    shortcut_pool: ShortcutPool = "stride"
    shortcut_proj: bool = False
    stem_bias: bool = True
    head_bias: bool = True
    scale: Scale = "head"
    conv_norm_eps: float = 1e-3
    momentum: float = 0.01
    drop_path: float = 0.2

    def __post_init__(self) -> None:
        self._check_each_stage("dims")
        MergingConfig.__post_init__(self)
        for name in ("window", "grid"):
            object.__setattr__(self, name, as_size(getattr(self, name), self.axes, name))
        self._check_strides()
        check_width(min(self.dims), self.mlp_ratio)
        if self.stem_dim < 1:
            raise UsageError(f"stem_dim={self.stem_dim}", "at least 1", "use stem_dim=64")
        for name, usual in (("expand", 4.0), ("squeeze", 0.25)):
            if int(getattr(self, name) * min(self.dims)) < 1:
                raise UsageError(
                    f"{name}={getattr(self, name)} for dims={self.dims}",
                    "at least one channel in every stage",
                    f"use {name}={usual}",
                )

    @property
    def stage_dims(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return self.dims

    @property
    def stem_stride(self) -> Size:
        """Input samples per token and axis behind the stem."""
        return tuple(p // m for p, m in zip(self.patch, self.merge, strict=True))

    def _check_strides(self) -> None:
        if self.patch_fit != "pad":
            raise UsageError(
                f"patch_fit={self.patch_fit!r} for a MaxViT",
                "'pad': its convolutions make a token of every stride begun",
                "use patch_fit='pad'",
            )
        pairs = zip(self.patch, self.merge, strict=True)
        if any(p % m or not 1 <= p // m <= 3 or m > 3 for p, m in pairs):
            raise UsageError(
                f"patch={self.patch} with merge={self.merge}",
                "a merge of at most 3 that divides the patch into a stem's stride of at most 3",
                f"use patch={(4,) * self.axes} and merge={(2,) * self.axes}",
            )


class MaxViTEmbed(ConvStem):
    """A stem, and the strided convolution that leads to the first stage."""

    def __init__(self, merge: MBConv, **options: Any) -> None:
        super().__init__(**options)
        self.merge = merge

    @property
    def stride(self) -> Size:
        """Input samples per token and axis."""
        return tuple(a * b for a, b in zip(self.proj.stride, self.merge.stride, strict=True))

    def forward(
        self, x: Float[Tensor, "batch channels *samples"]
    ) -> Float[Tensor, "batch *spatial dim"]:
        """Return the first stage's tokens."""
        return self.merge(super().forward(x))


class MaxViTBlock(nn.Module):
    """A convolution, attention within windows, attention across the grid.

    Args:
        conv: None in a stage's first block, whose convolution leads to the stage.
        window: attention within windows, and its perceptron.
        grid: attention across the grid, and its perceptron.
    """

    def __init__(self, conv: MBConv | None, window: PreNormBlock, grid: PreNormBlock) -> None:
        super().__init__()
        self.conv = conv
        self.window = window
        self.grid = grid

    @property
    def parts(self) -> list[nn.Module]:
        """What the tokens pass, in order."""
        return [part for part in (self.conv, self.window, self.grid) if part is not None]

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *spatial dim"]:
        """Return tokens mixed with their neighbours, their window, and the whole map."""
        for part in self.parts:
            x = part(x)
        return x


class MaxViT(Backbone):
    """Convolutions, windows and grids, stage by stage."""

    config: MaxViTConfig
    config_class: ClassVar[type[MaxViTConfig]] = MaxViTConfig
    norm_pooled = True

    def build_embed(self) -> MaxViTEmbed:
        """Build the stem, and the convolution that leads to the first stage."""
        config = self.config
        return MaxViTEmbed(
            self._conv(0, 0, config.merge),
            in_channels=config.in_channels,
            dim=config.stem_dim,
            stride=config.stem_stride,
            act=config.act,
            padding=config.conv_padding,
            bias=config.stem_bias,
            norm=config.embed_norm,
            norm_eps=config.conv_norm_eps,
            momentum=config.momentum,
        )

    def build_stage(self, stage: int) -> Stage:
        """Build the convolution that leads to a stage, and its blocks."""
        blocks = [self._block(stage, index) for index in range(self.config.depths[stage])]
        return Stage(self._conv(stage, 0, self.config.merge) if stage > 0 else None, blocks)

    def build_pre_logits(self) -> nn.Module:
        """Build the layer between the pooled tokens and the head."""
        dim = self.num_features
        return nn.Sequential(OrderedDict(fc=nn.Linear(dim, dim), act=nn.Tanh()))

    def group_matcher(self, coarse: bool = True) -> dict[str, Any]:
        """Return timm's patterns; its MaxViT counts stages as layers, so ``coarse`` is always."""
        del coarse
        # The convolution that ends the embedding here is the first of the first stage there.
        blocks = [(r"^stages\.(\d+)\.", None), (r"^embed\.merge\.", (0,))]
        return {"stem": r"^embed\.(?!merge\.)", "blocks": blocks}

    def _block(self, stage: int, index: int) -> MaxViTBlock:
        zeros, ones = (0,) * self.config.axes, (1,) * self.config.axes
        return MaxViTBlock(
            self._conv(stage, index, ones) if index > 0 else None,
            self._attention(stage, index, Window(self.config.window, zeros)),
            self._attention(stage, index, Grid(self.config.grid)),
        )

    def _conv(self, stage: int, index: int, stride: Size) -> MBConv:
        """Build a block's convolution; a stage's first takes the channels of the one before."""
        config, dim = self.config, self.config.dims[stage]
        before = config.dims[stage - 1] if stage > 0 else config.stem_dim
        return MBConv(
            dim if index > 0 else before,
            dim,
            stride,
            expand=config.expand,
            squeeze=config.squeeze,
            act=config.act,
            padding=config.conv_padding,
            shortcut_pool=config.shortcut_pool,
            shortcut_proj=config.shortcut_proj,
            norm_eps=config.conv_norm_eps,
            momentum=config.momentum,
            drop_path=self.drop_path_rates(config)[stage][index],
        )

    def _attention(self, stage: int, index: int, pattern: Window | Grid) -> PreNormBlock:
        config, dim = self.config, self.config.dims[stage]
        attn = WindowAttention(
            dim,
            config.num_heads[stage],
            pattern,
            qkv_bias=config.qkv_bias,
            attn_drop=config.attn_drop,
            proj_drop=config.drop,
        )
        if config.scale == "dim":
            attn.scale = dim**-0.5
        return PreNormBlock(
            dim,
            attn,
            Mlp(dim, int(dim * config.mlp_ratio), drop=config.drop, act=config.act),
            drop_path=self.drop_path_rates(config)[stage][index],
            norm_eps=config.norm_eps,
        )

    def _new_head(self, num_classes: int) -> nn.Linear | None:
        if num_classes == 0:
            return None
        return nn.Linear(self.num_features, num_classes, bias=self.config.head_bias)


MAXVIT_TINY = MaxViTConfig()
MAXVIT_SMALL = replace(MAXVIT_TINY, dims=(96, 192, 384, 768), num_heads=(3, 6, 12, 24),
                       drop_path=0.3)  # fmt: skip
MAXVIT_BASE = replace(MAXVIT_SMALL, depths=(2, 6, 14, 2), drop_path=0.4)

# torchvision's, of the tiny model's widths and depths.
MAXVIT_T = replace(MAXVIT_TINY, act="gelu", conv_padding="symmetric", shortcut_pool="kernel",
                   shortcut_proj=True, stem_bias=False, head_bias=False, scale="dim")  # fmt: skip
