from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional

from vitrail.data.augment import GROUP, BatchAugment, Mix, crop_and_flip
from vitrail.data.rng import uniforms
from vitrail.models import Preprocessing
from vitrail.training.recipe import Recipe

PLAIN = Preprocessing(size=(8, 8), crop=1.0)


def pictures(count: int, height: int = 8, width: int = 8) -> torch.Tensor:
    shape = (count, 3, height, width)
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def test_crop_and_flip_equal_torchvisions() -> None:
    """Each picture as torchvision's pad, crop and flip give it, with the offsets drawn for it."""
    pixels = pictures(200, 6, 10)
    draws = uniforms(3, np.arange(200), 3)
    found = crop_and_flip(pixels, draws, (2, 1))
    for image, draw, one in zip(pixels, draws, found, strict=True):
        padded = functional.pad(image, [1, 2])  # left and right, top and bottom
        expected = functional.crop(padded, int(draw[0] * 5), int(draw[1] * 3), 6, 10)
        if draw[2] < 0.5:
            expected = functional.horizontal_flip(expected)
        assert torch.equal(one, expected)
    offsets = {(int(a * 5), int(b * 3)) for a, b, _ in draws}
    assert len(offsets) == 15, "every offset is drawn"


def recipe(**fields) -> Recipe:
    return Recipe(crop="pad", **{"randaugment": 0, "erase": 0.0, **fields})


def test_values_are_normalised() -> None:
    augment = BatchAugment(PLAIN, (8, 8), recipe())
    augment.margin = (0, 0)
    found = augment(torch.full((2, 3, 8, 8), 255, dtype=torch.uint8), np.arange(2), 0)
    expected = (1 - torch.tensor(PLAIN.mean)) / torch.tensor(PLAIN.std)
    torch.testing.assert_close(found[1, :, 4, 4], expected)
    assert found.dtype == torch.float32


def test_a_picture_is_the_same_in_any_company() -> None:
    augment = BatchAugment(PLAIN, (8, 8), recipe(erase=0.5))
    pixels = pictures(20)
    together = augment(pixels, np.arange(20), 9)
    torch.rand(3)
    alone = augment(pixels[[7, 2]], np.array([7, 2]), 9)
    assert torch.equal(alone, together[[7, 2]])
    assert not torch.equal(augment(pixels, np.arange(20), 10), together)


def test_erasing_share() -> None:
    augment = BatchAugment(PLAIN, (8, 8), recipe(erase=0.25))
    pixels = torch.full((400, 3, 8, 8), 128, dtype=torch.uint8)
    augment.margin = (0, 0)
    plain = BatchAugment(PLAIN, (8, 8), recipe())
    plain.margin = (0, 0)
    indices = np.arange(400)
    changed = (augment(pixels, indices, 0) != plain(pixels, indices, 0)).flatten(1).any(1)
    assert 0.18 < changed.float().mean() < 0.32


def test_randaugment_is_drawn_for_each_group() -> None:
    augment = BatchAugment(PLAIN, (8, 8), recipe(randaugment=9))
    pixels, indices = pictures(2 * GROUP), np.arange(2 * GROUP)
    first = augment(pixels, indices, 1)
    assert torch.equal(first, augment(pixels, indices, 1))
    half = augment(pixels[GROUP:], indices[GROUP:], 1)
    assert torch.equal(half, first[GROUP:]), "shares of several processes are whole groups"
    results = [augment(pixels, indices, seed) for seed in range(2, 8)]
    assert any(not torch.equal(first, other) for other in results)


# ---- mixing ----------------------------------------------------------------------------------


def test_without_mixing_targets_are_one_hot() -> None:
    images, labels = torch.randn(6, 3, 8, 8), torch.arange(6) % 3
    mixed, targets = Mix(Recipe(mixup=0.0, cutmix=0.0), 3)(images, labels, 5)
    assert mixed is images
    assert torch.equal(targets, torch.eye(3)[labels])


def test_never_applied_at_probability_zero() -> None:
    images, labels = torch.randn(40, 3, 8, 8), torch.arange(40) % 3
    mixed, targets = Mix(Recipe(mix_probability=0.0), 3)(images, labels, 5)
    assert torch.equal(mixed, images)
    assert torch.equal(targets, torch.eye(3)[labels])


@pytest.mark.parametrize("way", ["mixup", "cutmix"])
def test_targets_are_the_shares_of_what_is_mixed(way) -> None:
    """Each pixel comes from the picture or its partner; labels say how much of each."""
    other = {"mixup": "cutmix", "cutmix": "mixup"}[way]
    mix = Mix(replace(Recipe(), **{other: 0.0}), 2 * GROUP)
    labels = torch.arange(2 * GROUP)
    images = labels.float()[:, None, None, None].expand(-1, 3, 8, 8).contiguous()
    mixed, targets = mix(images, labels, 11)
    assert not torch.equal(mixed, images)
    torch.testing.assert_close(targets.sum(1), torch.ones(2 * GROUP))
    expected = (targets * labels).sum(1)  # the mean picture, as its labels say
    torch.testing.assert_close(mixed.mean((1, 2, 3)), expected, rtol=1e-4, atol=1e-4)
    shares = targets.max(1).values
    assert shares[0] != shares[GROUP], "each group has its own draw"
    if way == "cutmix":
        assert torch.equal(mixed, mixed.round()), "pixels are copied, not blended"


def test_shares_of_several_processes_make_the_whole_batch() -> None:
    mix = Mix(Recipe(mix_probability=0.7), 10)
    images, labels = torch.randn(4 * GROUP, 3, 8, 8), torch.arange(4 * GROUP) % 10
    whole = mix(images, labels, 3)
    for rank in range(2):
        part = slice(rank * 2 * GROUP, (rank + 1) * 2 * GROUP)
        share = mix(images[part], labels[part], 3, rank * 2 * GROUP)
        assert torch.equal(share[0], whole[0][part])
        assert torch.equal(share[1], whole[1][part])


def test_an_odd_rest() -> None:
    images, labels = torch.randn(GROUP + 1, 3, 8, 8), torch.zeros(GROUP + 1, dtype=torch.int64)
    mixed, targets = Mix(Recipe(), 4)(images, labels, 3)
    assert mixed.shape == images.shape
    assert torch.equal(mixed[-1], images[-1]), "a lone picture has no partner but itself"
    torch.testing.assert_close(targets[-1], torch.eye(4)[0])
