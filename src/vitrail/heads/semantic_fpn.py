"""Semantic FPN: a feature pyramid, each level brought to the finest one and summed.

Kirillov et al. 2019, "Panoptic Feature Pyramid Networks", arXiv 1901.02446, section 3. Differences:
the same lines serve sequences, images and volumes; levels are aligned by their strides, so that any
size of input works; a merge may have any factor, where the paper's is two.
"""

from dataclasses import dataclass
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.heads.align import aligned
from vitrail.heads.base import Head, HeadConfig, HeadShape
from vitrail.heads.convolutions import CONVOLUTIONS


@dataclass(frozen=True, kw_only=True, slots=True)
class SemanticFPNConfig(HeadConfig):
    """Every number of a Semantic FPN.

    Args:
        pyramid_dim: channels of the pyramid.
        dim: channels of the levels that are summed.
        groups: of every GroupNorm.
        drop: probability of dropping a channel before the last convolution.
    """

    pyramid_dim: int = 256
    dim: int = 128
    groups: int = 32
    drop: float = 0.0

    def __post_init__(self) -> None:
        HeadConfig.__post_init__(self)
        for name in ("pyramid_dim", "dim", "groups"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}={getattr(self, name)}", "1 or more", f"use {name}=32")
        if self.dim % self.groups or self.dim == self.groups:
            raise UsageError(
                f"groups={self.groups} for dim={self.dim}",
                "groups of two or more channels that divide dim",
                f"use groups={max(n for n in range(1, self.dim) if self.dim % n == 0)}"
                if self.dim > 1
                else "use dim=128",
            )
        if not 0 <= self.drop < 1:
            raise UsageError(f"drop={self.drop}", "from 0 to below 1", "use drop=0.1")


class SemanticFPN(Head):
    """Logits for every input sample out of the maps of all stages.

    Args:
        config: its numbers.
        shape: what it gets and gives.
    """

    config: SemanticFPNConfig

    def __init__(self, config: SemanticFPNConfig, shape: HeadShape) -> None:
        super().__init__(config, shape)
        conv, dims = CONVOLUTIONS[shape.axes], shape.dims
        wide, dim = config.pyramid_dim, config.dim
        self.ratios = [
            tuple(coarse // fine for coarse, fine in zip(below, above, strict=True))
            for above, below in pairwise(shape.strides)
        ]
        self.lateral = nn.ModuleList(conv(width, wide, 1) for width in dims)
        self.smooth = nn.ModuleList(conv(wide, wide, 3, padding=1) for _ in dims)
        # One unit for each level that a level is brought up by; one where there is none.
        self.paths = nn.ModuleList(
            nn.Sequential(*(self._unit(conv, dim if n else wide) for n in range(max(1, level))))
            for level in range(len(dims))
        )
        self.drop = nn.Dropout(config.drop)
        self.classify = conv(dim, shape.outputs, 1)
        self.reset_parameters()

    def _unit(self, conv: type[nn.Module], channels: int) -> nn.Sequential:
        dim, groups = self.config.dim, self.config.groups
        convolution = conv(channels, dim, 3, padding=1, bias=False)
        return nn.Sequential(convolution, nn.GroupNorm(groups, dim), nn.ReLU())

    def logits(
        self, maps: list[Float[Tensor, "batch ..."]]
    ) -> Float[Tensor, "batch outputs *finest"]:
        """Return the logits on the grid of the finest map."""
        summed = None
        sizes = [tuple(level.shape[2:]) for level in maps]
        for level, (y, path) in enumerate(zip(self._pyramid(maps), self.paths, strict=True)):
            assert isinstance(path, nn.Sequential)
            for number, unit in enumerate(path):
                y = unit(y)
                if level:
                    finer = level - number - 1
                    y = aligned(y, self.ratios[finer], sizes[finer], smooth=True)
            summed = y if summed is None else summed + y
        return self.classify(self.drop(summed))

    def _pyramid(self, maps: list[Tensor]) -> list[Tensor]:
        """Return the levels, each with what is coarser added, finest first."""
        levels = [lateral(x) for lateral, x in zip(self.lateral, maps, strict=True)]
        for n in range(len(levels) - 2, -1, -1):
            size = tuple(levels[n].shape[2:])
            levels[n] = levels[n] + aligned(levels[n + 1], self.ratios[n], size, smooth=False)
        return [smooth(x) for smooth, x in zip(self.smooth, levels, strict=True)]
