"""Maps over the picture: where a token looks, and how far to trust what a map says."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.analysis import reach
from vitrail.explain import Trace, rollout
from vitrail.models import Backbone

if TYPE_CHECKING:
    from vitrail.explorer.arrays import Arrays


class Source(NamedTuple):
    """What maps are made from: a trace, and where gradients are needed its model and input."""

    trace: Trace
    model: nn.Module | None
    image: Tensor | None


def describe(source: Source, arrays: "Arrays") -> dict[str, Any]:
    """Return the parts of a manifest that are maps, and store these.

    Args:
        source: the trace with its model and input.
        arrays: where the maps are stored.
    """
    model, trace = source.model, source.trace
    assert isinstance(model, Backbone)
    stages = 1 + max(block.stage for block in trace.blocks)
    return {
        "methods": [],
        "maps": [],
        "reach": [
            {"stage": stage, "erf": None, "support": support(model, trace.spatial, stage)}
            for stage in range(stages)
        ],
        "faithfulness": None,
    }


def as_half(grid: Float[Tensor, "height width"]) -> Float[np.ndarray, "height width"]:
    """Return a map as it travels, in float16."""
    return grid.detach().cpu().numpy().astype(np.float16)


def map_of(source: Source, method: str, cls: str) -> Tensor | None:
    """Return the map of a method for a class, or None for one that there is not."""
    del source, method, cls
    return None


def erf_of(source: Source, stage: str, y: str, x: str) -> Tensor | None:
    """Return the effective receptive field of a token, or None for one that there is not."""
    del source, stage, y, x
    return None


def rollout_of(source: Source, block: str, y: str, x: str) -> Tensor | None:
    """Return where a token was routed from, or None for one that there is not."""
    blocks, place = source.trace.blocks, (int(y), int(x))
    if int(block) >= len(blocks) or not _inside(place, blocks[int(block)].spatial):
        return None
    return rollout(source.trace, int(block), place)


def support(model: Backbone, size: tuple[int, ...], stage: int) -> list[int] | None:
    """Return the box of the pixels that can influence the middle token at the end of a stage.

    Args:
        model: a model for images.
        size: height and width of its input.
        stage: number of the stage.
    Returns:
        First row, first column, one past the last row and the last column.
    """
    strides = model.config.stage_strides[stage]
    middle = tuple(-(-n // s) // 2 for n, s in zip(size, strides, strict=True))
    seen = reach(model, size, stage, -1, middle).nonzero()
    if not len(seen):
        return None
    first, last = seen.min(0).values, seen.max(0).values + 1
    return [*first.tolist(), *last.tolist()]


def _inside(place: tuple[int, ...], spatial: tuple[int, ...]) -> bool:
    return all(0 <= p < n for p, n in zip(place, spatial, strict=True))
