"""SegFormer's head: maps are projected, brought to the finest grid, fused and classified.

Xie et al. 2021, "SegFormer", arXiv 2105.15203, section 3.2. The same lines serve sequences, images
and volumes.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.heads.align import Align, on_grid
from vitrail.heads.base import Head, HeadConfig, HeadShape
from vitrail.heads.convolutions import BATCH_NORMS, CONVOLUTIONS, check_dims


@dataclass(frozen=True, kw_only=True, slots=True)
class SegFormerConfig(HeadConfig):
    """Every number of SegFormer's head.

    Args:
        dim: channels of each projected map and of what they are fused to.
        drop: probability of dropping a channel before the classifier.
        norm_eps: added to the variance by the BatchNorm.
        align: how maps come to the finest grid; see ``vitrail.heads.align``.
    """

    dim: int = 256
    drop: float = 0.1
    norm_eps: float = 1e-5
    align: Align = "strides"

    def __post_init__(self) -> None:
        HeadConfig.__post_init__(self)
        check_dims(self, "dim")


class SegFormerHead(Head):
    """Logits for every input sample out of the maps of all stages, token by token.

    Args:
        config: its numbers.
        shape: what it gets and gives.
    """

    config: SegFormerConfig
    normed = (("fuse", "norm"),)

    def __init__(self, config: SegFormerConfig, shape: HeadShape) -> None:
        super().__init__(config, shape)
        self.align = config.align
        axes, dim = shape.axes, config.dim
        conv = CONVOLUTIONS[axes]
        self.project = nn.ModuleList(conv(width, dim, 1) for width in shape.dims)
        self.fuse = conv(len(shape.dims) * dim, dim, 1, bias=False)
        self.norm = BATCH_NORMS[axes](dim, eps=config.norm_eps)
        self.act = nn.ReLU()
        self.drop = nn.Dropout(config.drop)
        self.classify = conv(dim, shape.outputs, 1)
        self.reset_parameters()

    def logits(
        self, maps: list[Float[Tensor, "batch ..."]]
    ) -> Float[Tensor, "batch outputs *finest"]:
        """Return the logits on the grid of the finest map."""
        finest = tuple(maps[0].shape[2:])
        levels = [
            on_grid(project(x), (self.shape.strides[0], stride), finest, self.align)
            for project, x, stride in zip(self.project, maps, self.shape.strides, strict=True)
        ]
        # The coarsest first, as in the published weights.
        return self.classify(self.drop(self.act(self.norm(self.fuse(torch.cat(levels[::-1], 1))))))
