"""Vision Transformer: standard attention, the baseline of everything else here.

Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words: Transformers for Image Recognition at
Scale", arXiv 2010.11929; the tiny and small models follow Touvron et al. 2021, "Training
data-efficient image transformers & distillation through attention", arXiv 2012.12877.

Differs from the official code: any input size at run time, as the grid's positions are resized to
the grid at hand, the tokens before it keeping theirs; an input that nothing divides is padded
(ADR 7). With ``global_pool="avg"`` the last norm comes before the mean, where timm's comes after.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.layers import AbsolutePosition, GroupedAttention, Mlp, PrefixTokens, PreNormBlock
from vitrail.layers.position import PositionResize
from vitrail.models.backbone import Backbone
from vitrail.models.config import BackboneConfig, check_width
from vitrail.models.stage import Stage
from vitrail.patterns import Global
from vitrail.shapes import Size, as_size


@dataclass(frozen=True, kw_only=True, slots=True)
class ViTConfig(BackboneConfig):
    """Every number that defines a ViT.

    Args:
        dim: channels.
        mlp_ratio: hidden channels of the perceptron over channels.
        positions: grid that the table of positions was made for, in tokens.
        position_resize: how positions are brought to another grid: ``"smooth"`` (bicubic), or
            ``"antialiased"`` as timm does (ADR 36).
        prefix: tokens that stand before the grid, the first of them for the head; 0 for none,
            with ``global_pool="avg"``.
        depths: number of blocks, of the one stage.
        num_heads: attention heads, of the one stage.
    """

    dim: int = 192
    depths: tuple[int, ...] = (12,)
    num_heads: tuple[int, ...] = (3,)
    patch: Size = (16, 16)
    mlp_ratio: float = 4.0
    positions: Size = (14, 14)
    position_resize: PositionResize = "smooth"
    prefix: int = 1
    drop_path: float = 0.1
    norm_eps: float = 1e-6
    embed_norm: bool = False
    global_pool: Literal["avg", "token", ""] = "token"

    def __post_init__(self) -> None:
        # Zero-argument super() does not survive slots=True, which makes a new class.
        BackboneConfig.__post_init__(self)
        object.__setattr__(self, "positions", as_size(self.positions, self.axes, "positions"))
        if len(self.depths) != 1:
            raise UsageError(
                f"depths={self.depths}", "one stage", f"use depths=({sum(self.depths)},)"
            )
        if self.prefix < 0:
            raise UsageError(f"prefix={self.prefix}", "0 or more", "use prefix=1")
        check_width(self.dim, self.mlp_ratio)

    @property
    def stage_dims(self) -> tuple[int, ...]:
        """Channels of the one stage."""
        return (self.dim,) * len(self.depths)

    @property
    def stage_strides(self) -> tuple[Size, ...]:
        """Input samples per token and axis, in the one stage."""
        return (self.patch,) * len(self.depths)


class ViT(Backbone):
    """Every token sees every token, at one resolution."""

    config: ViTConfig
    config_class: ClassVar[type[ViTConfig]] = ViTConfig

    def build_position(self) -> AbsolutePosition:
        """Build the table of positions of the grid."""
        config = self.config
        return AbsolutePosition(config.positions, config.dim, resize=config.position_resize)

    def build_stage(self, stage: int) -> Stage:
        """Build the tokens before the grid, and the blocks."""
        config = self.config
        prefix = PrefixTokens(config.dim, config.prefix, position=True) if config.prefix else None
        rates = self.drop_path_rates(config)[stage]
        return Stage(None, [self._block(rate) for rate in rates], prefix=prefix)

    @property
    def num_levels(self) -> int:
        """Levels that ``forward_intermediates`` may return: the blocks."""
        return self.config.depths[0]

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return timm's patterns; with one stage, a block is a layer even if ``coarse``."""
        del coarse
        return super().group_matcher()

    def _levels(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the tokens after each block, and those of them that lie on the grid."""
        (stage,) = self.stages
        assert isinstance(stage, Stage)
        tokens = grid = stage.enter(self._embed(x))
        if stage.prefix is not None:
            tokens = stage.prefix(grid)
        for block in stage.blocks:
            tokens = stage.step(block, tokens)
            yield tokens, stage.grid_of(tokens, grid.shape[1:-1])

    def _level_norm(self, index: int) -> nn.Module | None:
        """Return the last norm, which timm applies to the tokens of every block."""
        return next(iter(self.feature_norms.values()), self.norm)

    def _block(self, rate: float) -> nn.Module:
        config = self.config
        attn = GroupedAttention(
            config.dim,
            config.num_heads[0],
            Global(config.prefix),
            qkv_bias=config.qkv_bias,
            attn_drop=config.attn_drop,
            proj_drop=config.drop,
        )
        mlp = Mlp(config.dim, int(config.dim * config.mlp_ratio), drop=config.drop)
        return PreNormBlock(config.dim, attn, mlp, drop_path=rate, norm_eps=config.norm_eps)


VIT_TINY = ViTConfig()
VIT_SMALL = replace(VIT_TINY, dim=384, num_heads=(6,))
VIT_BASE = replace(VIT_TINY, dim=768, num_heads=(12,))
