"""How large objects are in a model's tokens, and which windows hold them whole."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vitrail.analysis.cost import Cost
from vitrail.errors import UsageError
from vitrail.shapes import Size

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
_MOST = 0.9  # share of the objects that a window is to hold


@dataclass(frozen=True, slots=True)
class StageFit:
    """How objects lie in the windows of one stage.

    Args:
        stride: input samples per token and axis.
        tokens: length of the objects along their longest axis, at each of ``QUANTILES``.
        needed: the smallest window, in tokens along every axis, that is as long as nine of ten
            objects.
        window: of the model, in tokens along each axis; None for attention without windows.
        fits: share of the objects that are no longer than the window along any axis.
        whole: share of the objects that lie in one window, if all places are as likely: an object
            of L tokens lies whole in a window of w with a probability of 1 - L / w along each axis.
    """

    stride: Size
    tokens: tuple[float, ...]
    needed: int
    window: Size | None
    fits: float | None
    whole: float | None


def stage_fits(
    cost: Cost,
    extents: Float[np.ndarray, "objects axes"],
    windows: tuple[Size, ...] | None,
) -> tuple[StageFit, ...]:
    """Return how objects lie in the windows of each stage.

    Args:
        cost: of a model, for its stages' strides.
        extents: lengths of the objects along each axis, in input samples.
        windows: of each stage, in tokens; None for a model without windows.
    Raises:
        UsageError: the objects have another number of axes than the model's input.
    """
    if extents.shape[1] != len(cost.size):
        raise UsageError(
            given=f"objects with {extents.shape[1]} axes for {cost.model}, whose input has "
            f"{len(cost.size)}",
            allowed="data and a model of one rank",
            fix="name a model that `vitrail list` shows with an input of that rank",
        )
    found: list[StageFit] = []
    for number, stage in enumerate(cost.stages):
        lengths = extents / np.array(stage.stride)
        longest = np.sort(lengths.max(1))
        tokens = tuple(float(longest[_place(q, len(longest))]) for q in QUANTILES)
        needed = math.ceil(longest[_place(_MOST, len(longest))])
        window = None if windows is None else windows[number]
        fits = whole = None
        if window is not None:
            share = lengths / np.array(window)
            fits = float((share <= 1).all(1).mean())
            whole = float(np.clip(1 - share, 0, 1).prod(1).mean())
        found.append(StageFit(stage.stride, tokens, needed, window, fits, whole))
    return tuple(found)


def quantiles(extents: Float[np.ndarray, "objects axes"]) -> tuple[float, ...]:
    """Return the length of objects along their longest axis, at each of ``QUANTILES``."""
    longest = np.sort(extents.max(1))
    return tuple(float(longest[_place(q, len(longest))]) for q in QUANTILES)


def _place(share: float, count: int) -> int:
    """The object that is as long as at least ``share`` of all, itself included."""
    return max(0, math.ceil(share * count) - 1)
