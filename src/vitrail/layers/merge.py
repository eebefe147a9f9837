"""Patch merging: neighbouring tokens become one, with more channels."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from vitrail.layers.embed import PatchEmbed, channels_first, pad_samples
from vitrail.ops.merging import merge
from vitrail.ops.windows import at_least
from vitrail.shapes import Size


class PatchMerging(nn.Module):
    """Concatenate each block of neighbours, normalise, project (Swin).

    Args:
        dim: channels in.
        out_dim: channels out.
        factor: how many neighbours become one along each axis, in tokens.
        norm_eps: added to the variance.
    Source: Liu et al. 2021, arXiv 2103.14030, section 3.1.
    """

    def __init__(self, dim: int, out_dim: int, factor: Size, *, norm_eps: float = 1e-5) -> None:
        super().__init__()
        self.factor = factor
        width = math.prod(factor) * dim
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.reduction = nn.Linear(width, out_dim, bias=False)

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *merged out_dim"]:
        """Return a grid shorter by ``factor``; odd lengths are padded with zeros first."""
        return self.reduction(self.norm(merge(x, self.factor)))


class PostNormPatchMerging(nn.Module):
    """Concatenate each block of neighbours, project, normalise (Swin V2).

    Args:
        dim: channels in.
        out_dim: channels out.
        factor: how many neighbours become one along each axis, in tokens.
        norm_eps: added to the variance.
    Source: Liu et al. 2022, arXiv 2111.09883.
    """

    def __init__(self, dim: int, out_dim: int, factor: Size, *, norm_eps: float = 1e-5) -> None:
        super().__init__()
        self.factor = factor
        self.reduction = nn.Linear(math.prod(factor) * dim, out_dim, bias=False)
        self.norm = nn.LayerNorm(out_dim, eps=norm_eps)

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *merged out_dim"]:
        """Return a grid shorter by ``factor``; odd lengths are padded with zeros first."""
        return self.norm(self.reduction(merge(x, self.factor)))


class ConvMerging(PatchEmbed):
    """Embed tokens as an image is embedded: a convolution, then a norm (PVT).

    Takes the arguments of ``PatchEmbed``; ``patch`` is how many neighbours become one.

    Source: Wang et al. 2021, Pyramid Vision Transformer, arXiv 2102.12122, section 3.2.
    """

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *merged out_dim"]:
        """Return a shorter grid, of at least one token along each axis whatever is dropped."""
        x = channels_first(x)
        if self.patch_fit == "floor":
            x = pad_samples(x, at_least(x.shape[2:], self.patch))
        return super().forward(x)
