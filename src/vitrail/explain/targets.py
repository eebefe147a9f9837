"""What a map of gradients is to explain: a class, or any number made of a model's output."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.explain.gradients import probe
from vitrail.explain.subject import subject
from vitrail.models import TaskModel
from vitrail.shapes import Size

Target = int | Callable[[Any], Tensor]
"""A class' number, or a function from a model's output, a batch of one, to the number to explain.

A class of a model with an output for every sample stands for its mean logit over the samples where
it is the largest (Vinogradova et al. 2020, Seg-Grad-CAM, arXiv 2002.11434).
"""


def class_at(
    cls: int, where: Size | Bool[Tensor, "*samples"]
) -> Callable[[Float[Tensor, "1 classes *samples"]], Float[Tensor, ""]]:
    """Return the target that is a class' logit at a sample, or its mean over a region.

    Args:
        cls: number of the class.
        where: a sample's place, from 0 along each axis; or True for each sample of the region.
    Returns:
        A function for ``target=`` of ``gradcam`` and ``gradient_rollout``; it raises a
        ``UsageError`` for a class or place that the output does not have.
    """

    def score(out: Tensor) -> Tensor:
        lengths, classes = tuple(out.shape[2:]), out.shape[1]
        _check_class(cls, classes)
        mask = where if isinstance(where, Tensor) else _only(where, lengths)
        if tuple(mask.shape) != lengths or not mask.any():
            raise UsageError(
                f"a region of shape {tuple(mask.shape)} with {int(mask.sum())} samples",
                f"one of shape {lengths}, True for a sample at least",
                "make it of the output: model(image)[0].argmax(0) == cls",
            )
        return out[0, cls][mask.to(out.device)].mean()

    return score


def target_score(
    model: nn.Module, image: Float[Tensor, "..."], target: Target
) -> Float[Tensor, ""]:
    """Return the number that a target is, with gradients from the image on.

    Raises:
        UsageError: a class of a model without a head, no such class, one that is found nowhere, or
            a target that is no single number.
    """
    batch = probe(model, image)
    model, backbone = subject(model)
    if isinstance(target, int):
        if model is backbone and backbone.head is None:
            raise UsageError(
                f"class {target} of a model without a head",
                "a model that classifies",
                "create it with num_classes of 1 or more, or use method 'rollout'",
            )
        return _class_score(model, model(batch), target)
    score = target(model(batch))
    if not isinstance(score, Tensor) or score.numel() != 1 or not score.requires_grad:
        shape = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__
        raise UsageError(
            f"a target that returns {shape}",
            "one number that is computed from the model's output",
            "e.g. target=lambda out: out[0, 1].mean()",
        )
    return score.reshape(())


def _class_score(model: nn.Module, logits: Tensor, cls: int) -> Tensor:
    if logits.ndim > 2 and not isinstance(model, TaskModel):
        raise UsageError(
            f"class {cls} of an output of shape {tuple(logits.shape)}, as global_pool='' gives",
            "a model that gives one output a class, or a function of what it gives",
            "create it with global_pool='avg', or give target=lambda out: out[...].mean()",
        )
    _check_class(cls, logits.shape[1])
    if logits.ndim == 2:
        return logits[0, cls]
    wins = logits[0].argmax(0) == cls
    if not wins.any():
        raise UsageError(
            f"class {cls}, which is the largest at no sample",
            "a class that the model finds in this input",
            f"say where: target=vitrail.explain.class_at({cls}, place)",
        )
    return logits[0, cls][wins].mean()


def _check_class(cls: int, classes: int) -> None:
    if not 0 <= cls < classes:
        raise UsageError(
            f"cls={cls}", f"0 to {classes - 1}", f"use cls={min(max(cls, 0), classes - 1)}"
        )


def _only(place: Size, lengths: Size) -> Bool[Tensor, "*samples"]:
    """Return True at one sample."""
    inside = len(place) == len(lengths) and all(
        0 <= p < n for p, n in zip(place, lengths, strict=True)
    )
    if not inside:
        raise UsageError(
            f"place={tuple(place)} of an output of {lengths}",
            "a place from 0 along each axis",
            f"use place={tuple(n // 2 for n in lengths)}",
        )
    mask = torch.zeros(lengths, dtype=torch.bool)
    mask[tuple(place)] = True
    return mask
