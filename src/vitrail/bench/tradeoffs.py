"""What windows cost in quality, measured on trained weights and real photos."""

import copy
import importlib.util
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.extras import missing_extra
from vitrail.layers import WindowAttention
from vitrail.models import Backbone
from vitrail.ops.windows import shift
from vitrail.patterns import Window
from vitrail.shapes import Size

PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")


def photos(model: Backbone, size: Size, count: int | None = None) -> Float[Tensor, "batch 3 h w"]:
    """Return photos that come with scikit-image, squeezed to ``size`` and normalised.

    Args:
        model: gives the normalisation of the inputs.
        size: height and width.
        count: how many; default all.
    Raises:
        UsageError: the package is not here.
    """
    import numpy as np
    from PIL import Image

    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise missing_extra("no photo of scikit-image in this environment", "demo")
    folder = Path(spec.origin).parent / "data"
    images = []
    for name in PHOTOS[:count]:
        with Image.open(folder / name) as photo:
            squeezed = photo.convert("RGB").resize((size[1], size[0]), Image.Resampling.BICUBIC)
            pixels = np.array(squeezed)
        images.append(torch.from_numpy(pixels).movedim(-1, 0) / 255)
    mean, std = (
        torch.tensor(values)[:, None, None]
        for values in (model.preprocessing.mean, model.preprocessing.std)
    )
    return (torch.stack(images) - mean) / std


@dataclass(frozen=True, slots=True)
class Seams:
    """How much more neighbouring features differ across seams of windows than elsewhere.

    Args:
        stage: number of the stage.
        window: tokens along each axis.
        ratio: mean difference of neighbours that a seam of regular windows parts, over that of all
            other neighbours; 1 means that the seam cannot be seen.
    """

    stage: int
    window: Size
    ratio: float


def seams(
    model: Backbone, images: Float[Tensor, "batch channels *samples"], *, shifted: bool
) -> list[Seams]:
    """Measure the discontinuity of each stage's features at the seams of its windows.

    Args:
        model: with window attention; it is not changed.
        images: a batch of inputs.
        shifted: as the model was trained; else the same weights with every shift set to zero.
    """
    network = model if shifted else unshifted(model)
    with torch.no_grad():
        maps = network.eval().features(images)
    found = []
    for stage, x in enumerate(maps):
        window = _windows(network.stages[stage])[0][1].fit(tuple(x.shape[1:-1]))[0]
        across, within = [], []
        for axis, m in enumerate(window):
            steps = x.movedim(1 + axis, 1).diff(dim=1).norm(dim=-1)
            at = torch.arange(steps.shape[1]) % m == m - 1
            across.append(steps[:, at].flatten())
            within.append(steps[:, ~at].flatten())
        if not torch.cat(across).numel():
            continue  # one window covers the map: there is no seam
        ratio = float(torch.cat(across).mean() / torch.cat(within).mean())
        found.append(Seams(stage, window, ratio))
    return found


def unshifted(model: Backbone) -> Backbone:
    """Return a copy of a model with window attention in which no window is shifted."""
    network = copy.deepcopy(model)
    for layer, pattern in _windows(network):
        layer.pattern = replace(pattern, shift=(0,) * len(pattern.shift))
    return network


def agreement_without_unshift(
    model: Backbone, images: Float[Tensor, "batch channels *samples"]
) -> float:
    """Return how alike answers are when no shift is undone: mean overlap of probabilities.

    Args:
        model: with window attention, on inputs that its windows divide.
        images: a batch of inputs.
    Returns:
        1 for the same probabilities, 0 for none in common.
    """
    with torch.no_grad():
        right = model.eval()(images).softmax(-1)
        with _forgetting(model):
            wrong = model(images).softmax(-1)
    return float(torch.minimum(right, wrong).sum(-1).mean())


@contextmanager
def _forgetting(model: Backbone) -> Iterator[None]:
    """Leave what attention returns where the shift has put it."""

    def leave(layer: Any, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return shift(output, layer.pattern.fit(tuple(args[0].shape[1:-1]))[1])

    with ExitStack() as hooks:
        for layer, _ in _windows(model):
            hooks.callback(layer.register_forward_hook(leave).remove)
        yield


def _windows(module: nn.Module) -> list[tuple[WindowAttention, Window]]:
    """Return the layers that attend within windows, each with its pattern."""
    layers = [layer for layer in module.modules() if isinstance(layer, WindowAttention)]
    return [(one, one.pattern) for one in layers if isinstance(one.pattern, Window)]
