"""What each child gives to the token that it is merged into, by the real layer's own numbers."""

import itertools
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vitrail.layers import ConvMerging, PatchMerging, PostNormPatchMerging
from vitrail.ops.merging import merge
from vitrail.shapes import Size


def merge_shares(
    layer: nn.Module, x: Float[Tensor, "1 *spatial dim"]
) -> Float[Tensor, "*merged children"] | None:
    """Return each child's share of the tokens that a merge makes.

    A merge ends in a linear map of its children's channels (in Swin after a norm, in Swin V2 and
    PVT before one), so its output is a sum of one part for each child, and of a bias that belongs
    to none. A child's share is the length of its part, over the sum of the lengths. Parts may
    cancel one another: a share says how loud a child is, not whether it is heeded later.

    Args:
        layer: a merge of one of our models.
        x: the grid that goes in.
    Returns:
        Shares that sum to one, children row by row; a child that is padding has what it really
        gives, mostly nothing. Where a merge looks beyond its children (PVT v2), what it sees there
        is left out. None for another kind of layer.
    """
    parts = merge_parts(layer, x)
    if parts is None:
        return None
    lengths = parts.float().norm(dim=-1)
    total = lengths.sum(-1, keepdim=True)
    # Where nothing comes in, every child gives as little as the others.
    return torch.where(total > 0, lengths / total, 1 / lengths.shape[-1])


def merge_parts(
    layer: nn.Module, x: Float[Tensor, "1 *spatial dim"]
) -> Float[Tensor, "*merged children out_dim"] | None:
    """Return what each child adds to the output of a merge's linear map, children row by row."""
    if isinstance(layer, PatchMerging | PostNormPatchMerging):
        joined = merge(x, layer.factor)
        joined = layer.norm(joined) if isinstance(layer, PatchMerging) else joined
        return _linear_parts(joined[0], layer.reduction.weight, layer.factor)
    if isinstance(layer, ConvMerging):
        return _conv_parts(x[0], layer)
    return None


def _linear_parts(joined: Tensor, weight: Tensor, factor: Size) -> Tensor:
    children = math.prod(factor)
    own = joined.unflatten(-1, (children, -1))
    columns = weight.unflatten(1, (children, -1))
    parts = torch.einsum("...cd,ocd->...co", own, columns.to(own.dtype))
    # In a checkpoint the first axis goes fastest among the children; in pictures the last does.
    axes, first = len(factor), parts.ndim - 2
    grid = parts.unflatten(-2, tuple(reversed(factor)))
    order = [*range(first), *range(first + axes - 1, first - 1, -1), first + axes]
    return grid.permute(order).flatten(first, first + axes - 1)


def _conv_parts(x: Tensor, layer: ConvMerging) -> Tensor:
    patch, spatial, weight = layer.patch, x.shape[:-1], layer.proj.weight
    padding = [int(n) for n in layer.proj.padding]
    kernel = weight.shape[2:]
    counts, amounts = [], []
    for n, p, k, before in zip(spatial, patch, kernel, padding, strict=True):
        # As ConvMerging.forward: filled up to whole patches, or at least to one.
        length = -(-n // p) * p if layer.patch_fit == "pad" else max(n, p)
        counts.append((length + 2 * before - k) // p + 1)
        amounts = [0, max(0, counts[-1] * p - n), *amounts]
    x = F.pad(x.movedim(-1, 0), amounts).movedim(0, -1)
    parts = []
    for child in itertools.product(*(range(p) for p in patch)):
        # Place of this child under the kernel, which starts before the children.
        tap = tuple(c + before for c, before in zip(child, padding, strict=True))
        steps = zip(child, counts, patch, strict=True)
        own = x[tuple(slice(c, n * p, p) for c, n, p in steps)]
        matrix = torch.zeros_like(weight.flatten(2)[..., 0])  # a child that the kernel misses
        if all(t < k for t, k in zip(tap, kernel, strict=True)):
            matrix = weight[(..., *tap)]
        parts.append(own @ matrix.to(own.dtype).mT)
    return torch.stack(parts, dim=-2)
