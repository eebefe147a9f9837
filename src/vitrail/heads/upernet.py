"""UPerNet: pooled regions of the coarsest map, and a feature pyramid that joins all maps.

Xiao et al. 2018, "Unified Perceptual Parsing", arXiv 1807.10221, section 3.1; the head of Swin's
published segmentation models. The same lines serve sequences, images and volumes.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.heads.align import Align, on_grid, stretched
from vitrail.heads.base import Head, HeadConfig, HeadShape
from vitrail.heads.convolutions import BATCH_NORMS, CONVOLUTIONS, check_dims
from vitrail.layers.embed import channels_first, channels_last
from vitrail.ops.reduce import adaptive_mean

if TYPE_CHECKING:
    from typing import Self
else:
    Self = Any  # the shape checker looks at one method at a time, where Self means nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class UPerNetConfig(HeadConfig):
    """Every number of UPerNet.

    Args:
        dim: channels of every level.
        pools: cells along each axis that the coarsest map is averaged to, a pyramid of them.
        drop: probability of dropping a channel before the classifier.
        norm_eps: added to the variance by every BatchNorm.
        align: how a map comes to a finer grid; see ``vitrail.heads.align``.
        aux_dim: channels of an auxiliary head, which published weights were trained with; 0 for
            none. It is kept and written again, has no part in the outputs, and does not train.
        aux_level: the map that it reads.
        aux_convs: how many convolutions it has.
        aux_joined: whether a further one joins their output with the map.
    """

    dim: int = 512
    pools: tuple[int, ...] = (1, 2, 3, 6)
    drop: float = 0.1
    norm_eps: float = 1e-5
    align: Align = "strides"
    aux_dim: int = 0
    aux_level: int = 2
    aux_convs: int = 1
    aux_joined: bool = False

    def __post_init__(self) -> None:
        HeadConfig.__post_init__(self)
        check_dims(self, "dim", "aux_convs")
        for name in ("aux_dim", "aux_level"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name}={getattr(self, name)}", "0 or more", f"use {name}=0")
        if isinstance(self.pools, int):
            object.__setattr__(self, "pools", (self.pools,))
        if not self.pools or min(self.pools) < 1:
            raise UsageError(f"pools={self.pools}", "numbers from 1", "use pools=(1, 2, 3, 6)")


def unit(axes: int, channels: int, dim: int, kernel: int, norm_eps: float) -> nn.Sequential:
    """Return a convolution, its norm and a rectifier."""
    convolution = CONVOLUTIONS[axes](channels, dim, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, BATCH_NORMS[axes](dim, eps=norm_eps), nn.ReLU())


class Auxiliary(nn.Module):
    """Logits out of one map by convolutions: what helped a published head to train.

    Args:
        config: the head's numbers.
        shape: what the head gets and gives.
    Raises:
        UsageError: there is no such map.
    """

    def __init__(self, config: UPerNetConfig, shape: HeadShape) -> None:
        super().__init__()
        if config.aux_level >= len(shape.dims):
            raise UsageError(f"aux_level={config.aux_level} of {len(shape.dims)} maps",
                             f"0 to {len(shape.dims) - 1}", "use aux_level=0")  # fmt: skip
        self.config = config
        axes, dim, first = shape.axes, config.aux_dim, shape.dims[config.aux_level]
        widths = [first, *[dim] * (config.aux_convs - 1)]
        self.convs = nn.Sequential(*(unit(axes, w, dim, 3, config.norm_eps) for w in widths))
        self.joined = (
            unit(axes, first + dim, dim, 3, config.norm_eps) if config.aux_joined else None
        )
        self.classify = CONVOLUTIONS[axes](dim, shape.outputs, 1)

    def forward(
        self, maps: list[Float[Tensor, "batch ..."]]
    ) -> Float[Tensor, "batch outputs *grid"]:
        """Return the logits on the map's own grid."""
        x = maps[self.config.aux_level]
        y = self.convs(x)
        return self.classify(y if self.joined is None else self.joined(torch.cat([x, y], dim=1)))


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
        self.auxiliary = Auxiliary(config, shape) if config.aux_dim else None
        self.reset_parameters()
        self.requires_grad_()

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Train or freeze the head; an auxiliary head, which no output depends on, stays frozen."""
        super().requires_grad_(requires_grad)
        if self.auxiliary is not None:
            self.auxiliary.requires_grad_(False)
        return self

    def _unit(self, channels: int, kernel: int) -> nn.Sequential:
        return unit(self.shape.axes, channels, self.config.dim, kernel, self.config.norm_eps)

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
