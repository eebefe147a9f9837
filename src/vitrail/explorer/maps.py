"""Maps over the picture: where a token looks, and how far to trust what a map says."""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vitrail.analysis import reach
from vitrail.errors import UsageError
from vitrail.explain import Target, Trace, class_at, rollout
from vitrail.explain.erf import erf
from vitrail.explain.faithfulness import STEPS, Curve, curves
from vitrail.explain.methods import METHODS, Method
from vitrail.explain.study import published
from vitrail.explorer.arrays import Arrays
from vitrail.models import Backbone, TaskModel, backbone_of

SIDE = 128  # values along an axis of a map of pixels, at most: beyond, squares are averaged
# Pixels of an input beyond which nothing that needs gradients is made unasked: at 2048 x 2048, one
# map takes a slow core a minute.
PIXELS = 1100 * 1100
# Beyond them, weights of a block, over all heads, up to which gradients are offered at all: 256 MB,
# of which there are several copies. Windows at 2048 x 2048 have 38 million (Swin-T), and gradients
# take 4 GB; pooled keys have a billion.
WEIGHTS = 64_000_000
DRAWS = 5  # random orders that a map's curves are held against
# Operations of all the passes that score the maps, up to which that is done unasked: half a minute
# on one slow core.
OPERATIONS = 1e12


class Source(NamedTuple):
    """What maps are made from: a trace, its model and its input."""

    trace: Trace
    model: Backbone | TaskModel
    image: Tensor

    def make(self, kind: str, parts: tuple[str, ...]) -> Float[np.ndarray, "height width"] | None:
        """Return a map (``map``, ``place``, ``erf``, ``rollout``) by its name's parts, in float16.

        None for one that there is not.
        """
        made = {"map": map_of, "place": map_of, "erf": erf_of, "rollout": rollout_of}[kind]
        grid = made(self, *parts)
        return None if grid is None else as_half(grid)

    @property
    def methods(self) -> dict[str, Method]:
        """The methods that this trace can have; those of ``quick`` are stored, others on demand."""
        weights = max(math.prod(block.shape) for block in self.trace.blocks)
        gradients = self.classes > 0 and (self._small or weights <= WEIGHTS)
        return {id: m for id, m in METHODS.items() if gradients or m.kind == "routing"}

    @property
    def classes(self) -> int:
        """How many classes the model tells apart."""
        dense = self.trace.dense
        return self.trace.logits.numel() if dense is None else len(dense)

    @property
    def quick(self) -> dict[str, Method]:
        """The methods whose maps are made unasked."""
        return {id: m for id, m in self.methods.items() if self._small or m.kind == "routing"}

    @property
    def _small(self) -> bool:
        return self.trace.spatial[0] * self.trace.spatial[1] <= PIXELS


def describe(
    source: Source, arrays: Arrays, classes: list[int]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Make the maps of some classes, and store them.

    Args:
        source: the trace with its model and input.
        arrays: where the maps are stored.
        classes: their numbers, the most important one first.
    Returns:
        The maps of the first class by method, and the parts of a manifest that describe them all.
    """
    found = {
        (id, cls): method.map(source.model, source.image, source.trace, cls)
        for id, method in source.quick.items()
        for cls in (classes if method.per_class else classes[:1])
    }
    listed: list[dict[str, Any]] = []
    for m in source.methods.values():
        title, text = m.named(source.trace.model)
        listed.append({"id": m.id, "title": title, "text": text, "per_class": m.per_class,
                     "layer": m.kind})  # fmt: skip
    maps = []
    for (id, cls), grid in found.items():
        per_class = METHODS[id].per_class
        name = arrays.add(f"map/{id}/{cls if per_class else 0}", as_half(_scaled(grid)))
        maps.append({"method": id, "class": cls if per_class else None, "stage": None})
        maps[-1]["array"] = name
    stages = sorted({block.stage for block in source.trace.blocks})
    parts = {
        "methods": listed,
        "maps": maps,
        "reach": [_reach(source, stage, arrays) for stage in stages],
    }
    return {id: grid for (id, cls), grid in found.items() if cls == classes[0]}, parts


def score(
    source: Source,
    found: dict[str, Tensor],
    arrays: Arrays,
    flops: int,
    scored: bool | None = None,
) -> dict[str, Any] | None:
    """Measure how faithful the maps of the best class are, by hundreds of forward passes.

    Args:
        source: the trace with its model and input.
        found: the maps by method.
        arrays: where the curves are stored.
        flops: operations of one forward pass.
        scored: whether to measure; None where that takes at most ``OPERATIONS``.
    Returns:
        A part of a manifest, or None for maps that are not scored.
    """
    passes = 2 * STEPS * (len(found) + DRAWS + 1)
    if scored is None:
        scored = flops * passes <= OPERATIONS
    classes = source.trace.logits.numel()
    return _scores(source, found, _best(source), arrays) if scored and classes else None


def _best(source: Source) -> int:
    logits = source.trace.logits
    return int(logits.argmax()) if logits.numel() else 0


def as_half(grid: Float[Tensor, "height width"]) -> Float[np.ndarray, "height width"]:
    """Return a map as it travels, in float16."""
    return grid.detach().cpu().numpy().astype(np.float16)


def map_of(source: Source, method: str, cls: str, *place: str) -> Tensor | None:
    """Return the map of a method for a class, or None for one that there is not.

    Args:
        source: the trace with its model and input.
        method: its id.
        cls: number of the class.
        place: row and column of the pixel whose class it is, where each pixel has one.
    Raises:
        UsageError: a map that needs gradients, of a model and an input too large for them; a class
            of a mask that no pixel has, without a place.
    """
    if method not in METHODS or int(cls) >= max(1, source.classes):
        return None
    target: Target = int(cls)
    if place:
        pixel = tuple(map(int, place))
        dense = source.trace.dense is not None and METHODS[method].per_class
        if not dense or not _inside(pixel, source.trace.spatial):
            return None
        target = class_at(target, pixel)
    if method not in source.methods:
        _refuse(source, f"the map {method}")
    made = METHODS[method].map(source.model, source.image, source.trace, target)
    return _scaled(made)


def erf_of(source: Source, stage: str, y: str, x: str) -> Tensor | None:
    """Return the effective receptive field of a token, or None for one that there is not.

    Raises:
        UsageError: an input too large for gradients.
    """
    place, number = (int(y), int(x)), int(stage)
    grids = {block.stage: block.spatial for block in source.trace.blocks}
    if number not in grids or not _inside(place, grids[number]):
        return None
    if not source._small:
        _refuse(source, "an effective receptive field")
    return _scaled(_smaller(erf(source.model, source.image, number, place)))


def rollout_of(source: Source, block: str, y: str, x: str) -> Tensor | None:
    """Return where a token was routed from, or None for one that there is not."""
    blocks, place = source.trace.blocks, (int(y), int(x))
    if int(block) >= len(blocks) or not _inside(place, blocks[int(block)].spatial):
        return None
    return rollout(source.trace, int(block), place)


def _reach(source: Source, stage: int, arrays: Arrays) -> dict[str, Any]:
    """Tell what the middle token at the end of a stage can be influenced by, and is."""
    grid = next(block.spatial for block in source.trace.blocks if block.stage == stage)
    middle = tuple(n // 2 for n in grid)
    backbone = backbone_of(source.model)
    assert backbone is not None
    seen = reach(backbone, source.trace.spatial, stage, -1, middle).nonzero()
    box = None
    if len(seen):
        box = [*seen.min(0).values.tolist(), *(seen.max(0).values + 1).tolist()]
    name = None
    if source._small:
        name = f"erf/{stage}/{middle[0]}/{middle[1]}"
        field = _scaled(_smaller(erf(source.model, source.image, stage, middle)))
        name = arrays.add(name, as_half(field))
    return {"stage": stage, "erf": name, "support": box}


def _scores(source: Source, maps: dict[str, Tensor], cls: int, arrays: Arrays) -> dict[str, Any]:
    found = curves(source.model, source.image, maps, cls=cls, draws=DRAWS)

    def keep(method: str, curve: Curve) -> dict[str, Any]:
        deletion, insertion = curve.areas
        return {"array": store(method, curve), "deletion": deletion, "insertion": insertion}

    def store(name: str, curve: Curve) -> str:
        return arrays.add(f"curve/{name}", curve.both().float().numpy())

    band = {"low": store("random-low", found.low), "high": store("random-high", found.high)}
    return {
        "steps": found.steps.tolist(),
        "curves": [{"method": id, **keep(id, curve)} for id, curve in found.maps.items()],
        "random": {**keep("random", found.random), **band},
        "centre": {"method": "centre", **keep("centre", found.centre)},
        "study": published(source.trace.model.sha256),
    }


def _scaled(grid: Float[Tensor, "height width"]) -> Float[Tensor, "height width"]:
    """Return a map whose greatest value is one: float16 knows no very small numbers."""
    most = grid.max()
    return grid / most if most > 0 else grid


def _smaller(field: Float[Tensor, "height width"]) -> Float[Tensor, "coarse_h coarse_w"]:
    """Return the means over squares of pixels, as small as keep it within ``SIDE`` values."""
    step = -(-max(field.shape) // SIDE)
    if step == 1:
        return field
    # Squares at the end hold fewer pixels; those beyond the picture are not counted.
    return F.avg_pool2d(field[None], step, ceil_mode=True, count_include_pad=False)[0]


def _refuse(source: Source, what: str) -> None:
    height, width = source.trace.spatial
    raise UsageError(
        f"{what} of an input of {height}x{width} pixels, which takes gradients of this model",
        f"at most {PIXELS:,} pixels",
        "explore the photo at a smaller size, e.g. 1024x1024",
    )


def _inside(place: tuple[int, ...], spatial: tuple[int, ...]) -> bool:
    return all(0 <= p < n for p, n in zip(place, spatial, strict=True))
