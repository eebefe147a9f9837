"""How far to trust a map: remove what it calls important, and see how the output changes.

Deletion removes the image cell by cell, what the map ranks highest first; insertion starts with
nothing and puts the same cells back. A map that knows what the model needs makes the probability
fall early in the one and rise early in the other: a small area under the deletion curve, a large
one under the insertion curve. The areas mean something only beside those of orders that know
nothing of the model: random ones, and one from the centre outwards, where photographers put things.

Source: Petsiuk et al. 2018, arXiv 1806.07421, section 4.2. Differences:

- What is removed is replaced by a blurred image in both curves, not by grey in one of them: both
  then run between the same two ends, and a cell loses its detail without a new edge around it.
- The unit is a cell of whole patches, at most ``LONGEST`` of them along an axis, not a pixel: a
  random order of pixels is noise of a kind that no map makes, and no fair rival.
- Curves have the same few steps at every size.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vitrail.errors import UsageError
from vitrail.explain.capture import one_image
from vitrail.explain.modes import evaluating
from vitrail.ops.resample import resize_linear
from vitrail.patterns.base import check_whole, check_word
from vitrail.shapes import Size, as_size

STEPS = 51
BASELINES = ("blur", "mean")
LONGEST = 16  # cells along an axis, at most
BAND = (0.05, 0.95)  # of the random orders, at each step


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """What becomes of one probability as an image goes and comes back.

    Args:
        deletion: probability while cells are removed; the whole image first.
        insertion: probability while cells are put back; the baseline first.
    """

    deletion: Float[Tensor, "steps"]
    insertion: Float[Tensor, "steps"]

    @property
    def areas(self) -> tuple[float, float]:
        """Areas under deletion (small is good) and insertion (large is good), 0 to 1."""
        deletion, insertion = (float(torch.trapezoid(c)) for c in self.both())
        return deletion / (len(self.deletion) - 1), insertion / (len(self.deletion) - 1)

    def both(self) -> Float[Tensor, "2 steps"]:
        """Return deletion and insertion as one array, as a trace keeps them."""
        return torch.stack([self.deletion, self.insertion])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Curves:
    """The curves of several maps of one image, and of what they are to beat.

    Args:
        cls: the class whose probability this is.
        steps: share of the cells that each step has removed (or put back), from 0 to 1.
        cell: lengths of a cell, in input samples.
        baseline: what stands where something was removed, ``"blur"`` or ``"mean"``.
        maps: a curve for each map.
        random: mean over the random orders.
        low: what one random order in twenty is below, at each step.
        high: what one random order in twenty is above, at each step.
        centre: cells in the order of a Gaussian in the middle of the image.
    """

    cls: int
    steps: Float[Tensor, "steps"]
    cell: Size
    baseline: str
    maps: Mapping[str, Curve]
    random: Curve
    low: Curve
    high: Curve
    centre: Curve


def curves(
    model: nn.Module,
    image: Float[Tensor, "channels *samples"] | Float[Tensor, "1 channels *samples"],
    maps: Mapping[str, Float[Tensor, "*grid"]],
    *,
    cls: int | None = None,
    steps: int = STEPS,
    draws: int = 10,
    seed: int = 0,
    batch: int = 64,
    cell: int | Size | None = None,
    baseline: str = "blur",
) -> Curves:
    """Measure how faithful maps of one image are to what the model uses.

    A map may have any grid: a coarse one is interpolated linearly to the cells, so that it ranks
    them all; of a fine one each cell takes the mean. Cells of equal value are taken in a drawn
    order, so that a map that says nothing is a random order. Equal arguments give equal numbers.

    Args:
        model: gives class scores; it runs in evaluation mode and is left as it was found.
        image: one input, normalised as the model expects it, with as many spatial axes as the
            model's config says; without one, two.
        maps: by name, how important each place is; large is important.
        cls: the class to explain; default the predicted one.
        steps: points on a curve, both ends included.
        draws: how many random orders; each serves as a deletion and, backwards, as an insertion.
        seed: decides the random orders and ties.
        batch: images in one forward pass.
        cell: input samples that are removed at once, along each axis; default whole patches of the
            model, as few as leave at most ``LONGEST`` cells along an axis.
        baseline: ``"blur"``, by a Gaussian of an eighth of each axis, or the image's ``"mean"``.
    Returns:
        The curves, on the CPU.
    Raises:
        UsageError: an image, map, class, number or word that cannot be used.
    Source: Petsiuk et al. 2018, arXiv 1806.07421.
    """
    least = {"steps": (steps, 2), "draws": (draws, 1), "batch": (batch, 1)}
    for name, (value, minimum) in least.items():
        check_whole(name, value, minimum)
    check_word("baseline", baseline, BASELINES)
    image = one_image(image, getattr(getattr(model, "config", None), "axes", 2)).detach()
    spatial = tuple(image.shape[2:])
    size = _cell(model, spatial, cell)
    cells, lengths = _cells(spatial, size), _count(spatial, size)
    on_cells = {name: _on_cells(name, values, cells, lengths) for name, values in maps.items()}
    middle = _on_cells("centre", _centred(spatial), cells, lengths)
    generator = torch.Generator().manual_seed(seed)
    # One order of equals for all maps: what is drawn for one does not depend on the others.
    equals = torch.randperm(int(cells.max()) + 1, generator=generator)
    orders = [torch.randperm(len(equals), generator=generator) for _ in range(draws)]
    with evaluating(model):
        run = _Run(model, image, cells, cls, steps, batch, baseline)
        # Putting back in one order is removing in its reverse, and the reverse is as random.
        deletion = torch.stack([run.along(order, insert=False) for order in orders])
        insertion = deletion.flip(1)
        return Curves(
            cls=run.cls,
            steps=torch.linspace(0, 1, steps),
            cell=size,
            baseline=baseline,
            maps={name: run.curve(_order(v, equals)) for name, v in on_cells.items()},
            random=Curve(deletion.mean(0), insertion.mean(0)),
            low=Curve(deletion.quantile(BAND[0], 0), insertion.quantile(BAND[0], 0)),
            high=Curve(deletion.quantile(BAND[1], 0), insertion.quantile(BAND[1], 0)),
            centre=run.curve(_order(middle, equals)),
        )


class _Run:
    """One image between its two ends, and the model that looks at it."""

    def __init__(
        self,
        model: nn.Module,
        image: Tensor,
        cells: Tensor,
        cls: int | None,
        steps: int,
        batch: int,
        baseline: str,
    ) -> None:
        parameter = next(model.parameters(), image)
        self.model, self.batch = model, batch
        self.image = image.to(parameter.device, parameter.dtype)
        self.nothing = (_blurred if baseline == "blur" else _mean)(self.image)
        self.cells = cells
        count = int(cells.max()) + 1
        self.counts = torch.linspace(0, count, steps, dtype=torch.float64).round().long()
        scores = _scores(model, self.image)
        self.cls = _class(cls, scores)
        self.whole = scores.softmax(-1)[0, self.cls]
        self.none = _scores(model, self.nothing).softmax(-1)[0, self.cls]

    def curve(self, order: Tensor) -> Curve:
        return Curve(self.along(order, insert=False), self.along(order, insert=True))

    def along(self, order: Int[Tensor, "cells"], *, insert: bool) -> Float[Tensor, "steps"]:
        """Return the class' probability at each step of one order."""
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order))
        masks = self._done(rank[self.cells])
        old, new = (self.nothing, self.image) if insert else (self.image, self.nothing)
        inner = [
            _scores(self.model, torch.where(part[:, None].to(old.device), new, old))
            .softmax(-1)[:, self.cls]
            for part in masks.split(self.batch)
            if len(part)
        ]  # fmt: skip
        ends = (self.none, self.whole) if insert else (self.whole, self.none)
        return torch.cat([ends[0][None], *inner, ends[1][None]]).cpu()

    def _done(self, rank: Int[Tensor, "*samples"]) -> Bool[Tensor, "inner *samples"]:
        """Tell for each inner step which samples it has changed; the ends are known to all."""
        counts = self.counts[1:-1]
        return rank < counts.view(-1, *(1,) * rank.ndim)


def _cell(model: nn.Module, spatial: Size, cell: int | Size | None) -> Size:
    """Return the lengths of a cell in samples."""
    if cell is not None:
        return as_size(cell, len(spatial), "cell")
    config: Any = getattr(model, "config", None)
    patch = getattr(config, "patch", (1,) * len(spatial))
    return tuple(p * -(-n // (p * LONGEST)) for n, p in zip(spatial, patch, strict=True))


def _cells(spatial: Size, size: Size) -> Int[Tensor, "*samples"]:
    """Return for every sample the number of the cell it lies in; the last ones may be smaller."""
    number = torch.zeros((), dtype=torch.long)
    for n, s, count in zip(spatial, size, _count(spatial, size), strict=True):
        number = number[..., None] * count + torch.arange(n) // s
    return number


def _count(spatial: Size, size: Size) -> Size:
    """Return how many cells there are along each axis."""
    return tuple(-(-n // s) for n, s in zip(spatial, size, strict=True))


def _on_cells(name: str, values: Tensor, cells: Tensor, lengths: Size) -> Float[Tensor, "cells"]:
    """Return a map's value in each cell: interpolated where the map is coarser, else the mean."""
    values = values.detach().double().cpu()
    if values.ndim != cells.ndim or not values.numel():
        raise UsageError(
            f"map {name!r} of shape {tuple(values.shape)}",
            f"one value a place, on a grid of {cells.ndim} axes",
            "give one map a name, without axes for batch or channels",
        )
    if not values.isfinite().all():
        raise UsageError(
            f"map {name!r} with {int((~values.isfinite()).sum())} values that are not finite",
            "finite numbers, which can be put in order",
            "find out where they come from, or leave this map out",
        )
    values = values[None, ..., None]
    if all(m <= n for m, n in zip(values.shape[1:-1], lengths, strict=True)):
        return resize_linear(values, lengths).flatten()
    fine, number = resize_linear(values, tuple(cells.shape)).flatten(), cells.flatten()
    count = torch.bincount(number).double()
    return torch.zeros_like(count).index_add(0, number, fine) / count


def _order(values: Tensor, equals: Tensor) -> Int[Tensor, "cells"]:
    """Return the cells by falling value; those of one value as they stand in ``equals``."""
    return equals[values[equals].argsort(descending=True, stable=True)]


def _centred(spatial: Size) -> Float[Tensor, "*samples"]:
    """Return a Gaussian in the middle, a quarter of each axis wide."""
    total = torch.zeros((), dtype=torch.float64)
    for n in spatial:
        total = total[..., None] + ((torch.arange(n) + 0.5) / n - 0.5).square()
    return torch.exp(-total / (2 * 0.25**2))


def _blurred(image: Tensor) -> Tensor:
    """Blur by a Gaussian of an eighth of each axis; borders are repeated outwards."""
    for axis in range(2, image.ndim):
        sigma = image.shape[axis] / 8
        radius = math.ceil(3 * sigma)
        offset = torch.arange(-radius, radius + 1, dtype=torch.float64)
        kernel = torch.exp(-offset.square() / (2 * sigma**2))
        kernel = (kernel / kernel.sum()).to(image)[None, None]
        lines = image.movedim(axis, -1)
        flat = F.pad(lines.reshape(-1, 1, lines.shape[-1]), (radius, radius), mode="replicate")
        image = F.conv1d(flat, kernel).reshape(lines.shape).movedim(-1, axis)
    return image


def _mean(image: Tensor) -> Tensor:
    return image.mean(tuple(range(2, image.ndim)), keepdim=True).expand_as(image)


def _scores(model: nn.Module, images: Tensor) -> Float[Tensor, "batch classes"]:
    scores = model(images)
    if not isinstance(scores, Tensor) or scores.ndim != 2:
        raise UsageError(
            f"a model of class {type(model).__name__} that gives no class scores",
            "a model whose output is (batch, classes)",
            "use a model with a head, e.g. create_model(name, num_classes=10)",
        )
    return scores.float()


def _class(cls: int | None, scores: Tensor) -> int:
    classes = scores.shape[-1]
    if cls is None:
        return int(scores[0].argmax())
    if not 0 <= cls < classes:
        raise UsageError(
            f"cls={cls} of a model with {classes} classes",
            f"0 to {classes - 1}, or None for the predicted one",
            f"use cls={max(0, min(cls, classes - 1))}",
        )
    return cls
