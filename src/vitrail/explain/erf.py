"""Effective receptive field: how strongly each sample of the input moves a token.

Source: Luo et al. 2016, Understanding the Effective Receptive Field in Deep Convolutional Neural
Networks, arXiv 1701.04128: a gradient of one at every channel of one place, carried back to the
input. Differs in that it is taken for one image, not averaged over many.
"""

from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.explain.gradients import differentiable, probe, stage_number
from vitrail.explain.subject import subject
from vitrail.explain.trace import Position


def erf(
    model: nn.Module, image: Float[Tensor, "..."], stage: int, position: Position
) -> Float[Tensor, "*samples"]:
    """Return how strongly each sample moves a token behind the last block of a stage.

    One backward pass. The token is the sum of its channels before any norm behind the block, as
    the channels of a norm's output hardly change in sum.

    Args:
        model: a Vitrail backbone of any rank; it is left as it was found.
        image: one input, normalised as the model expects it.
        stage: number of the stage, from 0; negative numbers count from the end.
        position: the token's place on the stage's grid, or the number of a prefix token.
    Returns:
        The magnitude of the gradient, summed over the input's channels.
    Raises:
        UsageError: no such stage or token, or another kind of model.
    """
    kept: list[Tensor] = []

    def keep(_: nn.Module, args: object, output: Tensor) -> None:
        del args
        kept.append(output)

    grids: list[tuple[int, ...]] = []

    def enter(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        grids.append(tuple(args[0].shape[1:-1]))

    model, backbone = subject(model)
    stages: Any = backbone.stages
    with differentiable(model, image), ExitStack() as hooks:
        batch = probe(model, image)
        owner = stages[stage_number(backbone, stage)]
        hooks.callback(owner.register_forward_pre_hook(enter).remove)
        hooks.callback(owner.blocks[-1].register_forward_hook(keep).remove)
        model(batch)
        prefix = 0 if owner.prefix is None else owner.prefix.count
        token = _token(position, grids[0] if prefix else tuple(kept[0].shape[1:-1]), prefix)
        (gradient,) = torch.autograd.grad(kept[0][0].flatten(0, -2)[token].sum(), [batch])
    return gradient[0].abs().sum(0).cpu()


def _token(position: Position, grid: tuple[int, ...], prefix: int) -> int:
    """Return the number of a token in the list, prefix tokens first."""
    if isinstance(position, int):
        inside = 0 <= position < prefix
    else:
        inside = len(position) == len(grid) and all(
            0 <= p < n for p, n in zip(position, grid, strict=True)
        )
    if not inside:
        raise UsageError(
            f"position={position} on a grid of {grid} tokens behind {prefix} prefix tokens",
            "a place on the grid, or the number of a prefix token",
            f"use position={tuple(n // 2 for n in grid)}",
        )
    if isinstance(position, int):
        return position
    token = 0
    for p, n in zip(position, grid, strict=True):
        token = token * n + p
    return prefix + token
