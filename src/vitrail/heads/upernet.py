"""UPerNet: pooled regions of the coarsest map, and a feature pyramid that joins all maps.

Xiao et al. 2018, "Unified Perceptual Parsing", arXiv 1807.10221, section 3.1; the head of Swin's
published segmentation models. The same lines serve sequences, images and volumes.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.heads.align import Align, on_grid, stretched
from vitrail.heads.base import Head, HeadConfig, HeadShape
from vitrail.heads.convolutions import BATCH_NORMS, CONVOLUTIONS, check_dims
from vitrail.layers.embed import channels_first, channels_last
from vitrail.ops.reduce import adaptive_mean


@dataclass(frozen=True, kw_only=True, slots=True)
class UPerNetConfig(HeadConfig):
    """Every number of UPerNet.

    Args:
        dim: channels of every level.
        pools: cells along each axis that the coarsest map is averaged to, a pyramid of them.
        drop: probability of dropping a channel before the classifier.
        norm_eps: added to the variance by every BatchNorm.
        align: how a map comes to a finer grid; see ``vitrail.heads.align``.
    """

    dim: int = 512
    pools: tuple[int, ...] = (1, 2, 3, 6)
    drop: float = 0.1
    norm_eps: float = 1e-5
    align: Align = "strides"

    def __post_init__(self) -> None:
        HeadConfig.__post_init__(self)
        check_dims(self, "dim")
        if isinstance(self.pools, int):
            object.__setattr__(self, "pools", (self.pools,))
        if not self.pools or min(self.pools) < 1:
            raise UsageError(f"pools={self.pools}", "numbers from 1", "use pools=(1, 2, 3, 6)")


class UPerNet(Head):
    """Logits for every input sample out of the maps of all stages.

    Args:
        config: its numbers.
        shape: what it gets and gives.
    """

    config: UPerNetConfig

    def __init__(self, config: UPerNetConfig, shape: HeadShape) -> None:
        super().__init__(config, shape)
        self.align = config.align
        *finer, coarsest = shape.dims
        dim = config.dim
        self.pool = nn.ModuleList(self._unit(coarsest, 1) for _ in config.pools)
        self.bottleneck = self._unit(coarsest + len(config.pools) * dim, 3)
        self.lateral = nn.ModuleList(self._unit(width, 1) for width in finer)
        self.smooth = nn.ModuleList(self._unit(dim, 3) for _ in finer)
        self.fuse = self._unit(len(shape.dims) * dim, 3)
        self.drop = nn.Dropout(config.drop)
        self.classify = CONVOLUTIONS[shape.axes](dim, shape.outputs, 1)
        self.reset_parameters()

    def _unit(self, channels: int, kernel: int) -> nn.Sequential:
        axes, dim = self.shape.axes, self.config.dim
        convolution = CONVOLUTIONS[axes](channels, dim, kernel, padding=kernel // 2, bias=False)
        norm = BATCH_NORMS[axes](dim, eps=self.config.norm_eps)
        return nn.Sequential(convolution, norm, nn.ReLU())

    def logits(
        self, maps: list[Float[Tensor, "batch ..."]]
    ) -> Float[Tensor, "batch outputs *finest"]:
        """Return the logits on the grid of the finest map."""
        *finer, coarsest = maps
        levels = [unit(x) for unit, x in zip(self.lateral, finer, strict=True)]
        levels.append(self._pooled(coarsest))
        for n in range(len(levels) - 2, -1, -1):
            levels[n] = levels[n] + self._on(levels[n + 1], n + 1, levels[n], n)
        smooth = [unit(x) for unit, x in zip(self.smooth, levels[:-1], strict=True)]
        smooth.append(levels[-1])
        joined = [self._on(x, n, levels[0], 0) for n, x in enumerate(smooth)]
        return self.classify(self.drop(self.fuse(torch.cat(joined, dim=1))))

    def _pooled(self, x: Tensor) -> Tensor:
        """Return the coarsest map with the means of its regions beside it."""
        lengths, parts = tuple(x.shape[2:]), [x]
        for cells, unit in zip(self.config.pools, self.pool, strict=True):
            means = adaptive_mean(channels_last(x), (cells,) * len(lengths))
            parts.append(stretched(unit(channels_first(means)), lengths))
        return self.bottleneck(torch.cat(parts, dim=1))

    def _on(self, x: Tensor, level: int, other: Tensor, target: int) -> Tensor:
        """Return a level on the grid of a finer one."""
        strides = self.shape.strides[target], self.shape.strides[level]
        return on_grid(x, strides, tuple(other.shape[2:]), self.align)
