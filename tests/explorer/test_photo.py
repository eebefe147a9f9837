"""The model gets what vitrail.transform gives it, and the page shows that part of the photo."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image

from vitrail.errors import UsageError
from vitrail.explorer.photo import picture_bytes, prepare, whole_photo
from vitrail.models import Preprocessing
from vitrail.shapes import Size

PREPROCESSING = Preprocessing(size=(32, 32), crop=0.9)


@pytest.mark.parametrize("size", [(32, 32), (24, 56), (61, 33), (300, 300), (1, 1)])
@pytest.mark.parametrize("crop", [1.0, 0.9])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_the_input_equals_the_models_own_transform(
    picture: Image.Image, size: Size, crop: float, interpolation: Literal["bicubic", "bilinear"]
) -> None:
    pytest.importorskip("torchvision", reason="pip install '.[train]'")
    from vitrail.data.transforms import eval_transform

    preprocessing = replace(PREPROCESSING, size=size, crop=crop, interpolation=interpolation)
    prepared = prepare(picture, preprocessing, size)
    assert prepared.input.shape == (1, 3, *size)
    assert torch.equal(prepared.input[0], eval_transform(preprocessing)(picture))


@pytest.mark.parametrize("size", [(32, 32), (24, 56), (60, 20)])
def test_what_is_shown_is_the_part_that_is_seen(size: Size) -> None:
    """A photo of two ramps shows by its colours where a part comes from."""
    ramps = np.zeros((400, 600, 3), np.uint8)
    ramps[..., 0] = np.linspace(0, 255, 400)[:, None]
    ramps[..., 1] = np.linspace(0, 255, 600)[None]
    prepared = prepare(Image.fromarray(ramps), PREPROCESSING, size)
    assert prepared.shown.width > 4 * prepared.seen.width
    assert prepared.seen.size == (size[1], size[0])
    ratio = prepared.shown.width / prepared.shown.height
    assert ratio == pytest.approx(size[1] / size[0], rel=0.01)
    small = prepared.shown.resize(prepared.seen.size, Image.Resampling.BOX)
    difference = np.asarray(small, np.int16) - np.asarray(prepared.seen, np.int16)
    assert np.abs(difference).max() <= 4


@pytest.mark.parametrize(
    ("photo", "expected"),
    [((300, 451), (64, 96)), ((451, 300), (96, 64)), ((50, 50), (64, 64)), ((10, 1000), (64, 128)),
     ((1000, 10), (128, 64)), ((3, 4), (64, 85)), ((1, 1), (64, 64))],
)  # fmt: skip
def test_the_whole_photo_in_its_proportions(photo: Size, expected: Size) -> None:
    assert whole_photo(photo, 64, (1, 1)) == expected
    for n, rough, patch in zip(whole_photo(photo, 64, (2, 3)), expected, (2, 3), strict=True):
        assert n % patch == 0
        assert abs(n - rough) <= patch / 2 + 0.5


def test_a_small_photo_is_not_blown_up(picture: Image.Image) -> None:
    prepared = prepare(picture, PREPROCESSING, (256, 256))
    assert prepared.shown.size == (256, 256)


@pytest.mark.parametrize("size", [(0, 32), (32,), (32, 32, 32), (32, 4096)])
def test_sizes_that_cannot_be(picture: Image.Image, size: Size) -> None:
    with pytest.raises(UsageError, match="224x224") as error:
        prepare(picture, PREPROCESSING, size)
    assert str(size) in str(error.value)


def test_small_inputs_are_kept_exactly_and_large_ones_compactly(picture: Image.Image) -> None:
    assert picture_bytes(picture, exact=True)[0] == "image/png"
    assert picture_bytes(picture, exact=False)[0] == "image/jpeg"
    large = picture.resize((800, 800))
    assert picture_bytes(large, exact=True)[0] == "image/jpeg"
