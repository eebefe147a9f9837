"""U-Net: a decoder that goes up the maps of a backbone to the input's own resolution.

Ronneberger et al. 2015, "U-Net", arXiv 1505.04597, with the residual units of Hatamizadeh et al.
2022, "Swin UNETR", arXiv 2201.01266, section 3.1. The same lines serve sequences, images and
volumes. Where the first map is coarser than the input, levels between the two are convolutions of
the input, so that borders are drawn from what was seen at full resolution.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.heads.align import fitted
from vitrail.heads.base import Head, HeadConfig, HeadShape
from vitrail.heads.convolutions import CONVOLUTIONS, TRANSPOSED, check_dims
from vitrail.shapes import Size

_SLOPE = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class UNetConfig(HeadConfig):
    """Every number of a U-Net.

    Args:
        dim: channels at the input's resolution; twice as many at each coarser level, but no more
            than the first map has, down to that map.
        drop: probability of dropping a channel before the classifier.
        norm_eps: added to the variance by every norm.
    """

    dim: int = 32
    drop: float = 0.0
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        HeadConfig.__post_init__(self)
        check_dims(self, "dim")


class InstanceNorm(nn.Module):
    """Normalise each channel of each sample; without weights.

    torch's own module refuses a map of a single cell, which is zero here.

    Args:
        eps: added to the variance.
    """

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(
        self, x: Float[Tensor, "batch channels *spatial"]
    ) -> Float[Tensor, "batch channels *spatial"]:
        """Return the normalised map."""
        return torch.group_norm(x, x.shape[1], eps=self.eps)  # which does not refuse it


class ResidualUnit(nn.Module):
    """Two convolutions of three cells with instance norms, and a way past them.

    Args:
        axes: 1, 2 or 3.
        channels: of the input.
        dim: of the output.
        stride: cells of the input per cell of the output.
        norm_eps: added to the variance.
    """

    def __init__(
        self,
        axes: int,
        channels: int,
        dim: int,
        *,
        stride: Size | None = None,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        conv, step = CONVOLUTIONS[axes], stride or (1,) * axes
        self.conv1 = conv(channels, dim, 3, step, padding=1, bias=False)
        self.conv2 = conv(dim, dim, 3, padding=1, bias=False)
        self.norm1, self.norm2 = InstanceNorm(norm_eps), InstanceNorm(norm_eps)
        self.past: nn.Module = nn.Identity()
        if channels != dim or any(s != 1 for s in step):
            self.past = nn.Sequential(
                conv(channels, dim, 1, step, bias=False),
                InstanceNorm(norm_eps),
            )
        self.act = nn.LeakyReLU(_SLOPE)

    def forward(
        self, x: Float[Tensor, "batch channels *spatial"]
    ) -> Float[Tensor, "batch dim *coarser"]:
        """Return the convolved map."""
        y = self.norm2(self.conv2(self.act(self.norm1(self.conv1(x)))))
        return self.act(y + self.past(x))


class UpUnit(nn.Module):
    """Bring a map to a finer grid by a transposed convolution; join it with that grid's own map.

    Args:
        axes: 1, 2 or 3.
        channels: of the coarse map.
        dim: of the fine map and of the output.
        ratio: cells of the fine grid per cell of the coarse one.
        norm_eps: added to the variance.
    """

    def __init__(
        self, axes: int, channels: int, dim: int, ratio: Size, *, norm_eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.up = TRANSPOSED[axes](channels, dim, ratio, ratio, bias=False)
        self.unit = ResidualUnit(axes, 2 * dim, dim, norm_eps=norm_eps)

    def forward(
        self, x: Float[Tensor, "batch channels *coarse"], skip: Float[Tensor, "batch dim *fine"]
    ) -> Float[Tensor, "batch dim *fine"]:
        """Return the joined map; what of the coarse one lies beyond the fine grid is cut off."""
        up = fitted(self.up(x), tuple(skip.shape[2:]))
        return self.unit(torch.cat((up, skip), dim=1))


class UNet(Head):
    """Logits for every input sample out of the maps of all stages and the input itself.

    Args:
        config: its numbers.
        shape: what it gets and gives.
    """

    config: UNetConfig

    def __init__(self, config: UNetConfig, shape: HeadShape) -> None:
        super().__init__(config, shape)
        axes, eps = shape.axes, config.norm_eps
        dims, fine = shape.dims, _finer(shape.strides[0])
        widths = [min(config.dim * 2**n, max(config.dim, dims[0])) for n in range(len(fine))]
        steps = _ratios([fine[0], *fine]) if fine else []
        entering = [shape.in_channels, *widths]
        self.input_units = nn.ModuleList(
            ResidualUnit(axes, channels, dim, stride=step, norm_eps=eps)
            for channels, dim, step in zip(entering, widths, steps, strict=False)
        )
        self.map_units = nn.ModuleList(ResidualUnit(axes, d, d, norm_eps=eps) for d in dims)
        levels, ratios = [*widths, *dims], _ratios([*fine, *shape.strides])
        self.up_units = nn.ModuleList(
            UpUnit(axes, coarse, dim, ratio, norm_eps=eps)
            for (dim, coarse), ratio in zip(pairwise(levels), ratios, strict=True)
        )
        self.drop = nn.Dropout(config.drop)
        self.classify = CONVOLUTIONS[axes](levels[0], shape.outputs, 1)
        self.reset_parameters()

    def forward(
        self,
        maps: list[Float[Tensor, "batch ..."]],
        x: Float[Tensor, "batch channels *samples"],
    ) -> Float[Tensor, "batch outputs *samples"]:
        """Return the logits of every input sample.

        Args:
            maps: channels-first, finest map first.
            x: the input.
        """
        skips: list[Tensor] = []
        for unit in self.input_units:
            skips.append(unit(skips[-1] if skips else x))
        skips += [unit(level) for unit, level in zip(self.map_units, maps, strict=True)]
        y = skips.pop()
        for unit, skip in zip(reversed(self.up_units), reversed(skips), strict=True):
            y = unit(y, skip)
        return self.classify(self.drop(y))


def _finer(stride: Size) -> list[Size]:
    """Return the strides from one up to below ``stride``, each half of the next where it can be."""
    found: list[Size] = []
    while any(s > 1 for s in stride):
        # An odd stride has no half: from there it is one step.
        stride = tuple(s // 2 if s % 2 == 0 else 1 for s in stride)
        found.insert(0, stride)
    return found


def _ratios(strides: Sequence[Size]) -> list[Size]:
    """Return how many times each stride is the one before."""
    return [
        tuple(c // f for f, c in zip(fine, coarse, strict=True))
        for fine, coarse in pairwise(strides)
    ]
