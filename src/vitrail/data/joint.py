"""Augmentation of an input together with its label map, of any rank.

Rotation, scale, flips and the crop are one affine map, sampled once: linearly for the input, at the
nearest place for the labels. What lies outside is the reflected inside, for both alike. Everything
random depends on the key alone.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torch.nn import functional as F

from vitrail.data.rng import uniforms
from vitrail.shapes import Size

Flip = Literal["none", "first", "last", "all"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Motion:
    """How an input and its labels are moved.

    Args:
        size: lengths of the crop, in samples.
        rotate: largest angle in each plane of two axes, in degrees.
        scale: largest factor of enlargement, and its inverse the least.
        flip: which axes are flipped in half of the cases: none, the first one (left and right of a
            volume), the last one (left and right of an image), or all.
    """

    size: Size
    rotate: float = 0.0
    scale: float = 1.0
    flip: Flip = "last"

    def __call__(
        self,
        image: Float[Tensor, "channels *spatial"],
        labels: Int64[Tensor, "*spatial"],
        seed: int,
    ) -> tuple[Float[Tensor, "channels *size"], Int64[Tensor, "*size"]]:
        """Move and crop both.

        Args:
            image: of any length along each axis, also shorter than the crop.
            labels: below 2^24, which float32 holds.
            seed: key of the sample.
        """
        spatial = tuple(labels.shape)
        turn, centre = self.draw(spatial, seed)
        lengths, size = np.array(spatial, float), np.array(self.size, float)
        theta = np.concatenate(
            [turn * (size / 2) / (lengths[:, None] / 2), (2 * centre / lengths - 1)[:, None]], 1
        )
        image, places = _sample(image[None], theta, self.size, "bilinear")
        moved, _ = _sample(labels[None, None].float(), theta, self.size, "nearest", places)
        return image[0], moved[0, 0].round().long()

    def draw(
        self, spatial: Size, seed: int
    ) -> tuple[Float64[np.ndarray, "axes axes"], Float64[np.ndarray, "axes"]]:
        """Draw where the crop comes from.

        Returns:
            The matrix from an offset in the crop to one in the input, both in samples from the
            centre, and the place of the crop's centre, where sample 0 covers 0 to 1.
        """
        axes = len(spatial)
        planes = list(itertools.combinations(range(axes), 2))
        count = 1 + 2 * axes + len(planes)
        factor, *rest = uniforms(seed, np.zeros(1), count)[0].tolist()
        flips, places, angles = rest[:axes], rest[axes : 2 * axes], rest[2 * axes :]
        which = {"none": (), "first": (0,), "last": (axes - 1,), "all": range(axes)}
        flipped = which[self.flip]
        turn = np.diag([-1.0 if n in flipped and flips[n] < 0.5 else 1.0 for n in range(axes)])
        turn *= self.scale ** (1 - 2 * factor)
        for (one, other), draw in zip(planes, angles, strict=True):
            angle = math.radians(self.rotate) * (2 * draw - 1)
            rotation = np.eye(axes)
            rotation[[one, other], [one, other]] = math.cos(angle)
            rotation[one, other], rotation[other, one] = -math.sin(angle), math.sin(angle)
            turn = turn @ rotation
        centre = np.array(
            [_centre(n, m, place) for n, m, place in zip(spatial, self.size, places, strict=True)]
        )
        return turn, centre


@dataclass(frozen=True, kw_only=True, slots=True)
class Shade:
    """How the intensities of an input are changed: samples from 0 to 1 stay there.

    Args:
        brightness: most that is added or subtracted.
        contrast: largest factor of the distance to the mean, and its inverse the least.
        gamma: largest exponent, and its inverse the least.
        channels: whether the channels are put into another order.
        invert: probability that light and dark are exchanged.
    """

    brightness: float = 0.0
    contrast: float = 1.0
    gamma: float = 1.0
    channels: bool = False
    invert: float = 0.0

    def __call__(
        self, image: Float[Tensor, "channels *spatial"], seed: int
    ) -> Float[Tensor, "channels *spatial"]:
        """Change an input; its samples lie from 0 to 1."""
        light, contrast, gamma, order, invert = uniforms(seed, np.ones(1), 5)[0].tolist()
        if invert < self.invert:
            image = 1 - image
        if self.gamma != 1:
            image = image**self.gamma ** (1 - 2 * gamma)
        if self.contrast != 1 or self.brightness:
            mean = image.mean()
            factor = self.contrast ** (1 - 2 * contrast)
            shift = self.brightness * (2 * light - 1)
            image = ((image - mean) * factor + (mean + shift)).clamp(0, 1)
        if self.channels:
            orders = list(itertools.permutations(range(len(image))))
            image = image[list(orders[int(order * len(orders))])]
        return image


def _centre(length: int, crop: int, draw: float) -> float:
    """Centre of a crop at a whole number of samples; in the middle where the crop is longer."""
    room = length - crop
    return length / 2 if room <= 0 else int(draw * (room + 1)) + crop / 2


def _sample(
    x: Float[Tensor, "1 channels *spatial"],
    theta: Float64[np.ndarray, "axes columns"],
    size: Size,
    mode: str,
    places: Tensor | None = None,
) -> tuple[Float[Tensor, "1 channels *size"], Tensor]:
    """Sample at affinely mapped places; returns these too, for what has to move alike."""
    spatial = x.shape[2:]
    if len(spatial) == 1:  # torch samples pictures and volumes: a sequence is a picture of one row
        x, size = x[:, :, None], (1, *size)
    if places is None:
        # torch has the last axis first.
        axes = len(spatial)
        wanted = np.eye(len(size), len(size) + 1)
        wanted[:axes, :axes] = theta[::-1, axes - 1 :: -1]
        wanted[:axes, -1] = theta[::-1, -1]
        matrix = torch.from_numpy(wanted).to(x.dtype)
        places = F.affine_grid(matrix[None], [1, 1, *size], align_corners=False)
    found = F.grid_sample(x, places, mode, "reflection", align_corners=False)
    return found[:, :, 0] if len(spatial) == 1 else found, places
