"""Grad-CAM at any stage: which channels support a class, and where they are active.

Source: Selvaraju et al. 2017, Grad-CAM, arXiv 1610.02391. Differs in that maps are channels-last,
and that what is explained may be any stage.
"""

from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.explain.gradients import differentiable, stage_number
from vitrail.explain.subject import subject
from vitrail.explain.targets import Target, target_score
from vitrail.models import Backbone
from vitrail.shapes import Size


def gradcam(
    model: nn.Module, image: Float[Tensor, "..."], target: Target, stage: int = -1
) -> Float[Tensor, "*grid"]:
    """Return where a stage's features support a class, or raise another number of the output.

    The gradient of the class' logit, averaged over the grid, weighs each channel; where the sum
    of the weighed channels is below zero, the map is zero.

    Explained are a stage's tokens behind its blocks, before the norm of the model. Where the
    output is a prefix token's (ViT, PVT) the tokens behind the last block do not count: in the last
    stage, explained is what its last block's attention is given (``norm1``), as is usual for ViT.

    Args:
        model: a Vitrail classifier or model of segmentation, of any rank; it is left as it was
            found.
        image: one input, normalised as the model expects it.
        target: number of the class; or a function of the output, such as ``class_at(cls, place)``.
        stage: number of the stage, from 0; negative numbers count from the end.
    Returns:
        The map on the stage's grid: 0 and above, of no fixed scale.
    Raises:
        UsageError: no classifier, no such class or target, or no such stage.
    """
    kept: list[Tensor] = []
    grids: list[Size] = []

    def enter(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        grids.append(tuple(args[0].shape[1:-1]))

    def leave(_: nn.Module, args: object, output: Tensor) -> None:
        del args
        kept.append(output)

    model, backbone = subject(model)
    with differentiable(model, image), ExitStack() as hooks:
        owner, layer = explained(backbone, stage)
        hooks.callback(owner.register_forward_pre_hook(enter).remove)
        hooks.callback(layer.register_forward_hook(leave).remove)
        score = target_score(model, image, target)
        (gradient,) = torch.autograd.grad(score, kept)
    prefix = 0 if owner.prefix is None else owner.prefix.count
    # A list of all tokens where there are prefix tokens, else a grid.
    feature, slope = (x[0].flatten(0, -2)[prefix:] for x in (kept[0].detach(), gradient))
    grid = grids[0] if prefix else kept[0].shape[1:-1]
    return (feature @ slope.mean(0)).relu().unflatten(0, grid).cpu()


def explained(model: Backbone, stage: int) -> tuple[Any, nn.Module]:
    """Return a stage, and the layer whose output stands for it in Grad-CAM."""
    number = stage_number(model, stage)
    owner: Any = model.stages[number]
    last = number == len(model.stages) - 1
    if last and owner.prefix is not None and model.global_pool == "token":
        return owner, owner.blocks[-1].norm1
    return owner, owner
