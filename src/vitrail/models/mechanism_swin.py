"""One body, several ways to attend: Swin-Tiny with only the pattern exchanged.

The body is that of Liu et al. 2021, arXiv 2103.14030: patches, merges, widths and depths. All
models of this file have the same parameters, and one kind of position bias (``OffsetBias``), so
that they differ in their patterns alone. ``window_tiny`` is the control: Swin itself, but for the
bias, as a table of offsets fits one window and no whole grid.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import nn

from vitrail.errors import UsageError
from vitrail.layers import (
    GroupedAttention,
    Mlp,
    OffsetBias,
    PatchMerging,
    PreNormBlock,
)
from vitrail.models.backbone import Backbone
from vitrail.models.config import DoublingConfig
from vitrail.models.stage import Stage
from vitrail.patterns import Axial, Global, Pattern, SparseFixed, SparseStrided, Window
from vitrail.shapes import Size, as_size

Mechanism = Literal["global", "axial", "sparse", "window"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MechanismSwinConfig(DoublingConfig):
    """Every number that defines one of these models.

    Args:
        mechanism: how tokens attend.
        window: tokens per axis, of ``"window"``; odd blocks are shifted by half of it.
        sparse: of ``"sparse"``: ``"strided"``, where blocks alternate between runs of tokens and
            the tokens at the same place of every run; or ``"fixed"``, where a token sees its own
            run and the last token of every other.
        block: tokens of a run, of ``"sparse"``; None for ``ceil(sqrt(N))`` of the grid at hand.
    """

    mechanism: Mechanism = "window"
    window: Size = (7, 7)
    sparse: Literal["strided", "fixed"] = "strided"
    block: int | None = None

    def __post_init__(self) -> None:
        DoublingConfig.__post_init__(self)
        object.__setattr__(self, "window", as_size(self.window, self.axes, "window"))
        self._check_word("mechanism", ("window", "global", "axial", "sparse"))
        self._check_word("sparse", ("strided", "fixed"))
        self.pattern(0)

    def pattern(self, index: int) -> Pattern:
        """Return which tokens attend to which in block number ``index`` of a stage."""
        if self.mechanism == "global":
            return Global()
        if self.mechanism == "axial":
            return Axial(index % self.axes)
        if self.mechanism == "window":
            return Window(self.window, tuple(m // 2 if index % 2 else 0 for m in self.window))
        if self.sparse == "fixed":
            return SparseFixed(self.block)
        return SparseStrided(self.block, "residue" if index % 2 else "local")

    def _check_word(self, name: str, words: tuple[str, ...]) -> None:
        given = getattr(self, name)
        if given not in words:
            raise UsageError(f"{name}={given!r}", " or ".join(words), f"use {name}={words[0]!r}")


class MechanismSwin(Backbone):
    """A hierarchy of stages that attend by one mechanism."""

    config: MechanismSwinConfig
    config_class: ClassVar[type[MechanismSwinConfig]] = MechanismSwinConfig

    def build_stage(self, stage: int) -> Stage:
        """Build the merge that leads to a stage, and its blocks."""
        config, dim = self.config, self.config.stage_dims[stage]
        merge = None
        if stage > 0:
            merge = PatchMerging(dim // 2, dim, config.merge, norm_eps=config.norm_eps)
        rates = self.drop_path_rates(config)[stage]
        return Stage(merge, [self._block(stage, i, dim, rate) for i, rate in enumerate(rates)])

    def _block(self, stage: int, index: int, dim: int, rate: float) -> nn.Module:
        config = self.config
        pattern, heads = config.pattern(index), config.num_heads[stage]
        attn = GroupedAttention(
            dim,
            heads,
            pattern,
            bias=OffsetBias(config.axes, heads),
            qkv_bias=config.qkv_bias,
            attn_drop=config.attn_drop,
            proj_drop=config.drop,
        )
        mlp = Mlp(dim, int(dim * config.mlp_ratio), drop=config.drop)
        return PreNormBlock(dim, attn, mlp, drop_path=rate, norm_eps=config.norm_eps)


WINDOW_TINY = MechanismSwinConfig()
GLOBAL_TINY = replace(WINDOW_TINY, mechanism="global")
AXIAL_TINY = replace(WINDOW_TINY, mechanism="axial")
SPARSE_TINY = replace(WINDOW_TINY, mechanism="sparse")
