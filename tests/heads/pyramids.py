"""Maps as backbones make them."""

import torch

from vitrail.heads import HeadShape


def maps_of(lengths, strides, dims, batch=2) -> list[torch.Tensor]:
    """A pyramid as backbones make it: every grid rounded up."""
    generator = torch.Generator().manual_seed(len(lengths))
    return [
        torch.randn(
            batch,
            dim,
            *(-(-n // s) for n, s in zip(lengths, stride, strict=True)),
            generator=generator,
        )
        for dim, stride in zip(dims, strides, strict=True)
    ]


def shape(dims, strides, outputs: int = 2) -> HeadShape:
    return HeadShape(3, tuple(dims), tuple(strides), outputs)
