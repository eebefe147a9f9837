"""Losses between logits and a map of classes, of any rank."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

IGNORED = -1
"""In a map of classes: places that count nowhere."""


def cross_entropy(
    logits: Float[Tensor, "batch classes *spatial"],
    labels: Int64[Tensor, "batch *spatial"],
    weights: Sequence[float] = (),
) -> Float[Tensor, ""]:
    """The mean over all places that are not ignored, weighted by class; 0 where all are ignored.

    Args:
        logits: of a model.
        labels: classes, or ``IGNORED``.
        weights: of each class; none for equal ones.
    """
    of_class = torch.tensor([*weights] or [1.0] * logits.shape[1]).to(logits)
    total = F.cross_entropy(logits, labels, of_class, ignore_index=IGNORED, reduction="sum")
    counted = of_class[labels.clamp_min(0)] * (labels != IGNORED)
    return total / counted.sum().clamp_min(1e-6)


def soft_dice(
    logits: Float[Tensor, "batch classes *spatial"], labels: Int64[Tensor, "batch *spatial"]
) -> Float[Tensor, "classes"]:
    """The Dice coefficient of each class over a batch, with probabilities in the place of a mask.

    Source: Milletari et al. 2016, arXiv 1606.04797, section 3, with sums in the place of squares;
    one is added above and below, so that a class that nowhere occurs has 1.
    """
    counted = (labels != IGNORED)[:, None]
    found = logits.softmax(1) * counted
    true = F.one_hot(labels.clamp_min(0), logits.shape[1]).movedim(-1, 1) * counted
    axes = [axis for axis in range(logits.ndim) if axis != 1]
    both, either = (found * true).sum(axes), found.sum(axes) + true.sum(axes)
    return (2 * both + 1) / (either + 1)
